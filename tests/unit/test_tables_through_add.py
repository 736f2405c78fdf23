"""`add --metadata`, `update` and `status` on tables, through `Repo`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from clones import Clone
from datapin.base.errors import BadQuery, BadRows, Refused, Usage
from datapin.repo import Repo

DATASET = "data/raw"


def photos(repo: Clone, *names: str) -> Path:
    folder = repo.path / "photos"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_table_in_the_folder_is_no_row_now_or_later(repo: Clone) -> None:
    folder = photos(repo, "1/a.png", "2/b.png")
    table = folder / "1" / "m.csv"
    table.write_text("file_name,weight\na.png,3\n")
    found = Repo.find(repo.path)
    report = found.add([str(folder)], to=DATASET, label="parent", metadata=str(table))
    assert report.rows == 2
    assert found.ls(DATASET)["weight"].to_pylist() == [3, None]
    status = found.status([DATASET]).datasets[0]
    assert status.tree is not None
    assert not status.tree.any
    assert found.add([str(folder)], to=DATASET, label="parent").added == 0
    assert found.add([str(folder)], to=DATASET, label="parent", mirror=True).removed == 0
    photos(repo, "2/c.png")
    status = found.status([DATASET]).datasets[0]
    assert status.tree is not None
    assert status.tree.added == 1
    assert found.add([str(folder)], to=DATASET, label="parent").added == 1
    assert found.add([str(table)], to=DATASET).added == 1  # named itself, it is data
    (photos(repo, "../alone/x.csv") / "../alone/x.csv").write_text("file_name,w\na,1\n")
    with pytest.raises(Refused, match="but the metadata file"):
        found.add([str(repo.path / "alone")], to="data/alone", metadata=str(repo.path / "alone" / "x.csv"))


def test_labels_may_be_numbers_by_add_and_by_update_and_back(repo: Clone) -> None:
    folder = photos(repo, "7/a.png", "8/b.png")
    table = repo.path / "m.csv"
    table.write_text("file_name,label\n7/a.png,1.5\n")
    found = Repo.find(repo.path)
    found.add([str(folder)], to="data/mixed", label="parent", metadata=str(table), types={"label": "double"})
    assert found.ls("data/mixed")["label"].to_pylist() == [1.5, 8.0]
    found.add([str(folder)], to=DATASET, label="parent", types={"label": "int"})
    assert found.ls(DATASET)["label"].to_pylist() == [7, 8]
    photos(repo, "cat/c.png")
    with pytest.raises(Refused, match="not all folder names are such"):
        found.add([str(folder)], to=DATASET, label="parent")

    assert found.update(DATASET, ["label=label::VARCHAR"]).changed == 2
    assert found.ls(DATASET)["label"].to_pylist() == ["7", "8"]
    repo.commit("text")
    assert found.update(DATASET, ["label=label::DOUBLE"]).changed == 2
    assert found.ls(DATASET)["label"].to_pylist() == [7.0, 8.0]
    report = found.diff(DATASET)
    assert [(row.before, row.after) for row in report.rows] == [
        ({"label": "7"}, {"label": 7.0}),
        ({"label": "8"}, {"label": 8.0}),
    ]
    assert found.update(DATASET, ["label=label::DOUBLE"]).changed == 0
    assert found.update(DATASET, ["label=(label + 0.4)::INTEGER"], where="label = 7").changed == 0
    assert found.ls(DATASET).schema.field("label").type == pa.float64()
    with pytest.raises(BadQuery, match="Could not convert"):
        found.update(DATASET, ["label='cat'::DOUBLE"])
    with pytest.raises(BadRows, match="string or a number"):
        found.update(DATASET, ["label='2020-01-01'::DATE"])
    found.update(DATASET, ["note=NULL"])
    assert found.update(DATASET, ["note='x'"], where="label = 8").changed == 1

    table_now = found.open(DATASET).to_arrow()
    texts = pa.array(["x", "y"])
    assert (
        found.write(DATASET, table_now.set_column(table_now.column_names.index("label"), "label", texts)).changed == 2
    )
    assert found.ls(DATASET)["label"].to_pylist() == ["x", "y"]


def test_options_of_a_table_need_a_table_and_its_notes_are_told(repo: Clone) -> None:
    folder = photos(repo, "a.png")
    found = Repo.find(repo.path)
    for options in ({"csv_delimiter": ";"}, {"csv_encoding": "cp1252"}, {"key_column": "x"}, {"types": {"w": "int"}}):
        with pytest.raises(Usage, match="none is named"):
            found.add([str(folder)], to=DATASET, **options)
    (repo.path / "m.csv").write_bytes(";Name;Group;w\n0;a.png;Zoë;1\n".encode("cp1252"))
    report = found.add(
        [str(folder)], to=DATASET, metadata=str(repo.path / "m.csv"), csv_delimiter=";", csv_encoding="cp1252",
        key_column="Name", renames={"Group": "group"}, types={"w": "double"},
    )  # fmt: skip
    assert [(one.severity, "row numbers" in one.message) for one in report.findings] == [("note", True)]
    row = found.open(DATASET)[0].row
    assert (row["group"], row["w"]) == ("Zoë", 1.0)
    digest = report.digest
    again = found.add(
        [str(folder)], to="data/again", metadata=str(repo.path / "m.csv"), csv_delimiter=";", csv_encoding="cp1252",
        key_column="Name", renames={"Group": "group"}, types={"w": "double"},
    )  # fmt: skip
    assert again.digest == digest
    (repo.path / "none.csv").write_text("file_name,w\nz.png,1\n")
    (finding, *_) = found.add([str(folder)], to="data/none", metadata=str(repo.path / "none.csv")).findings
    assert finding.message == "1 row(s) without a file: z.png; the first file is 'a.png'"
