"""`resolve` of rows that both sides added, or that one removed and the other changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clones import Clone
from datapin import Repo
from datapin.manifest.merge import Side


@pytest.fixture
def halves(filled: Clone) -> Clone:
    """n.bin and m.bin added by both; a/00.bin removed by us, a/01.bin by them, and changed by the other."""
    filled.git("checkout", "-qb", "theirs")
    _side(filled, "theirs", "key,label\nm.bin,dog\nn.bin,dog\n", gone="a/01.bin", changed="a/00.bin")
    filled.git("checkout", "-q", "main")
    filled.dvc("checkout", "-q")
    _side(filled, "ours", "key,label,split\nm.bin,cat,val\nn.bin,cat,val\n", gone="a/00.bin", changed="a/01.bin")
    filled.git("merge", "-q", "theirs", code=1)
    return filled


def _side(clone: Clone, name: str, metadata: str, *, gone: str, changed: str) -> None:
    folder: Path = clone.path.parent / name
    folder.mkdir()
    for key in ("m.bin", "n.bin"):
        (folder / key).write_text(name)
    (clone.path.parent / f"{name}.csv").write_text(metadata)
    repo = Repo.find(clone.path)
    repo.add([str(folder)], to="data/raw", metadata=str(clone.path.parent / f"{name}.csv"))
    repo.remove("data/raw", where=f"key = '{gone}'")
    repo.update("data/raw", [f"label = '{name}'"], where=f"key = '{changed}'")
    clone.git("commit", "-qam", name)


def _rows(repo: Repo) -> dict[str, tuple[str, str | None]]:
    table = repo.ls("data/raw", where="label IN ('cat', 'dog', 'ours', 'theirs')").to_pylist()
    return {row["key"]: (row["label"], row["split"]) for row in table}


def test_theirs_is_their_whole_row(halves: Clone) -> None:
    repo = Repo.find(halves.path)
    assert repo.resolve("data/raw", side=Side.THEIRS).digest
    assert _rows(repo) == {"a/00.bin": ("theirs", None), "m.bin": ("dog", None), "n.bin": ("dog", None)}


def test_rows_are_decided_one_by_one(halves: Clone) -> None:
    repo = Repo.find(halves.path)
    assert not repo.resolve("data/raw", side=Side.OURS, where="key = 'm.bin'").digest
    # Their bytes with our label: what else we have said is of our bytes.
    repo.resolve("data/raw", side=Side.OURS, where="key = 'n.bin' AND conflict = 'label'")
    repo.resolve("data/raw", side=Side.THEIRS, where="key = 'n.bin'")
    assert repo.resolve("data/raw", side=Side.OURS).digest
    assert _rows(repo) == {"a/01.bin": ("ours", None), "m.bin": ("cat", "val"), "n.bin": ("cat", None)}
