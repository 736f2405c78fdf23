from __future__ import annotations

import pytest

from clones import Clone


def test_update_and_remove_are_new_versions_to_commit(filled: Clone) -> None:
    updated = filled.json(
        "update", "data/raw", "--set", "label='c'", "--set", "weight=size * 2", "--where", "label = 'a'"
    )
    assert (updated["dataset"], updated["changed"], updated["rows"]) == ("data/raw", 6, 12)
    rows = {row["key"]: row for row in filled.json("ls", "data/raw")}
    assert (rows["a/00.bin"]["label"], rows["a/00.bin"]["weight"]) == ("c", rows["a/00.bin"]["size"] * 2)
    assert (rows["b/00.bin"]["label"], rows["b/00.bin"]["weight"]) == ("b", None)
    removed = filled.json("remove", "data/raw", "--where", "key = 'b/01.bin'")
    assert (removed["removed"], removed["rows"]) == (1, 11)
    head = filled.json("status", "--exit-code", code=1)["datasets"][0]["head"]
    assert (head["changed"] >= 6, head["removed"]) == (True, 1)
    filled.dvc("status", "-q")
    filled.commit("v2")
    assert filled.json("status")["datasets"][0]["head"] == {"added": 0, "changed": 0, "removed": 0}


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("update", "data/raw", "--set", "label"), 2, "COL=SQL"),
        (("update", "data/raw", "--set", "key='x'"), 2, "key"),
        (("update", "data/raw", "--set", "label='x'", "--where", "nocolumn = 1"), 2, "nocolumn"),
        (("update", "data/raw", "--set", "label='x'", "--where", "1=1) ; COPY (SELECT 1) TO 'f"), 2, "SQL"),
        (("remove", "data/raw", "--where", "true"), 40, "12 rows"),
        (("remove", "data/raw"), 2, "--where"),
        (("update", "data/none", "--set", "label='x'"), 10, "data/none"),
    ],
)
def test_a_refused_edit_changes_nothing(filled: Clone, words: tuple[str, ...], code: int, named: str) -> None:
    before = filled.files("data")
    message, hint = filled.refusal(*words, code=code)
    assert named in message
    assert hint
    assert filled.files("data") == before


def test_the_output_of_a_stage_is_not_edited(filled: Clone) -> None:
    (filled.path / "dvc.yaml").write_text(
        "stages:\n  copy:\n    cmd: cp -r data/raw data/derived\n    deps: [data/raw]\n    outs: [data/derived]\n"
    )
    filled.dvc("repro", "-q")
    assert filled.json("show", "data/derived")["rows"] == 12
    message, hint = filled.refusal("remove", "data/derived", "--where", "label = 'a'", code=40)
    assert "stage" in message
    assert "dvc repro" in hint
