"""One answer to what is pinned: situation by verb, every verb names the same datasets by the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clones import Clone, write_images

TEMPLATE = """\
stages:
  made:
    wdir: ${where}
    cmd: cp -r ../data/raw made
    deps: [../data/raw]
    outs: [made]
"""
NESTED = """\
stages:
  nested:
    wdir: deep
    cmd: cp -r ../../data/raw nest
    deps: [../../data/raw]
    outs: [nest]
"""


def label(clone: Clone, dataset: str, value: str) -> None:
    clone.datapin("update", dataset, "--set", f"label = '{value}'", "-q")


@pytest.fixture
def projects(filled: Clone) -> tuple[Clone, Clone]:
    """An outer DVC project with data/raw, and one in a folder below it with data/own; two versions of each, remotes."""
    inner = Clone(filled.path / "inner")
    inner.path.mkdir()
    inner.dvc("init", "-q", "--subdir")
    inner.datapin("init", "--no-hooks")
    write_images(inner.path / "img", per_class=3)
    inner.datapin("add", "img", "--to", "data/own", "--label", "parent", "-q")
    for one in (filled, inner):
        one.dvc("remote", "add", "-q", "-d", "lab", filled.path.parent / f"lab-{one.path.name}")
    filled.commit("v2")
    label(filled, "data/raw", "x")
    label(inner, "data/own", "x")
    filled.commit("v3")
    return filled, inner


def datasets_by_verb(clone: Clone, name: str) -> dict[str, Any]:
    """What each verb says that there is, and what it says of the one called `name`."""
    found: dict[str, Any] = {"status": [one["dataset"] for one in clone.json("status")["datasets"]]}
    for rev in ((), ("HEAD",)):
        verified = clone.json("verify", *rev, code=0)
        found[f"verify {rev}"] = [one["dataset"] for one in verified["datasets"]]
    rolled = clone.json("rollback", "--all", "--to", "HEAD~1", "--dry-run")
    found["rollback"] = [one["dataset"] for one in rolled["datasets"]]
    used = clone.json("uses", f"{name}:a/00.bin")["versions"]
    found["uses"] = sorted({one["dataset"] for one in used})
    found["trace"] = [one["name"] for one in clone.json("trace", name)["nodes"] if one["kind"] == "dataset"][:1]
    return found


def test_each_project_knows_its_own_datasets_and_fails_on_no_others(projects: tuple[Clone, Clone]) -> None:
    outer, inner = projects
    for clone, name, other in ((outer, "data/raw", "inner/data/own"), (inner, "data/own", "data/raw")):
        answers = datasets_by_verb(clone, name)
        assert answers == {verb: [name] for verb in answers}
        assert len(clone.json("log", name)) == 2
        for verb in (("push", "--all-versions"), ("fetch", "--all-versions")):
            clone.datapin(*verb)
        for asked in (("log", other), ("ls", other), ("diff", other), ("show", f"{other}@HEAD"), ("status", other)):
            clone.datapin(*asked, code=10)
    (outer.path / "inner" / "data" / "own.dvc").write_text("outs:\n- md5: [\n")
    assert [one["dataset"] for one in outer.json("status")["datasets"]] == ["data/raw"]
    outer.datapin("push")
    outer.datapin("verify", "-q")


@pytest.mark.parametrize(
    ("file", "text", "name"), [("dvc.yaml", TEMPLATE, "sub/made"), ("sub/dvc.yaml", NESTED, "sub/deep/nest")]
)
def test_a_dataset_has_one_name_whatever_wdir_says(filled: Clone, file: str, text: str, name: str) -> None:
    (filled.path / "params.yaml").write_text("where: sub\n")
    (filled.path / "sub" / "deep").mkdir(parents=True)
    (filled.path / file).write_text(text)
    for value in ("x", "y"):
        label(filled, "data/raw", value)
        filled.dvc("repro", "-q", "-P")
        filled.commit(value)
    both = sorted(["data/raw", name])
    seen = datasets_by_verb(filled, name)
    assert seen.pop("trace") == [name]
    assert seen == dict.fromkeys(seen, both)
    assert len(filled.json("log", name)) == 2
    assert filled.json("ls", name)[0]["label"] == "y"
    assert filled.json("ls", f"{name}@~1")[0]["label"] == "x"
    assert len(filled.json("diff", name, "HEAD~1", "HEAD")["rows"]) == 12
    told = filled.json("rollback", name, "--to", "HEAD~1", "--pin", "--dry-run")
    assert [one["dataset"] for one in told["datasets"]] == [name]
    filled.dvc("remote", "add", "-q", "-d", "lab", filled.path.parent / "lab")
    filled.datapin("push", "--all-versions")


def test_a_second_work_tree_finds_without_a_remote_what_the_first_one_has(filled: Clone, tmp_path: Path) -> None:
    label(filled, "data/raw", "z")
    filled.commit("v2")
    filled.git("worktree", "add", "-q", tmp_path / "second")
    second = Clone(tmp_path / "second")
    problem = second.json("status", code=0)["datasets"][0]["problem"]
    assert problem is not None
    assert "`datapin restore data/raw`" in problem["hint"]
    assert second.json("show", "data/raw@HEAD~1")["rows"] == 12
    assert len(second.json("diff", "data/raw", "HEAD~1", "HEAD")["rows"]) == 12
    assert [one["changed"] for one in second.json("log", "data/raw")] == [12, 0]
    assert second.json("show", "data/raw")["rows"] == 12
    assert second.json("uses", "data/raw:a/00.bin")["versions"]
    assert second.json("rollback", "data/raw", "--to", "HEAD~1")["datasets"][0]["changed"] == 12
