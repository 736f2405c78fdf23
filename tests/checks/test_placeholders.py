"""Placeholders of git-lfs and the like: refused by `add`, and found where they were added before."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from checks.planted import Planted
from clones import Clone
from datapin import Repo
from datapin.base.errors import SourcesRefused
from datapin.base.findings import Finding
from datapin.base.progress import SILENT
from datapin.verbs.verify.verify import verify
from datapin.verbs.workspace.workspace import Workspace

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 1000\n".encode()
ANNEX = b"/annex/objects/SHA256E-s12345--0123.png\n"


def test_add_refuses_them_by_name_and_nothing_changes(repo: Clone) -> None:
    folder = repo.path / "img"
    folder.mkdir()
    for name, data in (("a.png", LFS), ("b.png", ANNEX), ("c.png", b"own"), ("e.png.dvc", b"outs:\n- md5: 1\n")):
        (folder / name).write_bytes(data)
    os.symlink("../.git/annex/objects/Xq/zv/SHA256E-s1--a.png/SHA256E-s1--a.png", folder / "d.png")
    with pytest.raises(SourcesRefused) as caught:
        Repo.find(repo.path).add(["img"], to="data/raw")
    assert "`git annex get .`" in caught.value.hint  # links are judged before anything is read
    (folder / "d.png").unlink()
    with pytest.raises(SourcesRefused) as caught:
        Repo.find(repo.path).add(["img"], to="data/raw")
    tools = {"a.png": "git-lfs", "b.png": "git-annex", "e.png.dvc": "DVC"}
    assert len(caught.value.problems) == len(tools)
    for problem, (name, tool) in zip(caught.value.problems, tools.items(), strict=True):
        assert name in problem
        assert f"placeholder of {tool}" in problem
    for command in ("git lfs pull", "git annex get .", "dvc checkout"):
        assert f"`{command}`" in caught.value.hint
    assert not (repo.path / "data").exists()


@pytest.fixture(scope="module")
def added(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 rows of small assets, one of them a placeholder: written past `add`, as an older datapin added it."""
    clone = Clone(tmp_path_factory.mktemp("added") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    (clone.path / "img").mkdir()
    for number in range(300):
        (clone.path / "img" / f"{number:03}.png").write_text(str(number))
    repo = Repo.find(clone.path)
    repo.add(["img"], to="data/raw")
    workspace = repo._workspace
    with workspace.store.filling() as filling:
        asset = str(filling.put(LFS))
    rows = repo.ls("data/raw").to_pylist()
    rows[1] |= {"asset_id": asset, "size": len(LFS)}
    table = repo.ls("data/raw")
    for place, name in ((table.column_names.index(name), name) for name in ("asset_id", "size")):
        table = table.set_column(place, table.schema.field(name), [[row[name] for row in rows]])
    repo.write("data/raw", table)
    few = repo.ls("data/raw", limit=5)
    repo.write("data/few", few)
    shutil.rmtree(clone.path / "img")
    return clone.path


def red(path: Path, *names: str) -> list[Finding]:
    return verify(Workspace.find(path, progress=SILENT), None, names=names).findings


@pytest.mark.planted("hygiene.placeholders", "a row names the text that git-lfs leaves in place of an image")
def test_verify_finds_some_that_were_added_before(added: Path, planted: Planted) -> None:
    (finding,) = [one for one in planted.seen(red(added, "hygiene.placeholders")) if one.where.startswith("data/few")]
    assert finding.where == "data/few:001.png"
    assert "git lfs pull" in finding.hint


@pytest.mark.planted("deep.placeholders", "a row of many names the text that git-lfs leaves in place of an image")
def test_verify_deep_finds_all_of_them(added: Path, planted: Planted) -> None:
    assert {one.where for one in planted.seen(red(added, "deep.placeholders"))} == {
        "data/few:001.png",
        "data/raw:001.png",
    }
