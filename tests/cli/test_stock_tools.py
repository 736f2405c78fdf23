"""Stock Git and DVC on our datasets: every command they have behaves, before and after ours, with and without us."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from clones import BIN, Clone, write_images
from workspaces import picture

NOTHING = {"added": 0, "changed": 0, "removed": 0}
READ_ROWS = """
import json, sys
import pandas
import pyarrow.parquet
folder = sys.argv[1]
frame = pandas.read_parquet(folder)
table = pyarrow.parquet.read_table(folder)
assert frame.key.tolist() == table["key"].to_pylist()
assert "datapin" not in sys.modules
print(json.dumps({row["key"]: row["label"] for row in table.select(["key", "label"]).to_pylist()}))
"""
PIPELINE = """\
stages:
  prepare:
    cmd: datapin run prepare
    deps: [data/digits]
    params: [prepare]
    outs: [data/prepared]
"""


@pytest.fixture(scope="module")
def made(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of data/raw, 12 rows and 11, the second with another label, both pushed; v1 and v2 are tags."""
    top = tmp_path_factory.mktemp("stock")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    with (clone.path / ".dvc" / "config").open("a") as config:
        config.write("[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../lab\n")
    write_images(clone.path / "img")
    (clone.path / ".gitignore").write_text("/img\n/out\n")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.commit("v1")
    clone.git("tag", "v1")
    clone.datapin("push", "-q")
    clone.datapin("update", "data/raw", "--set", "label = 'z'", "--where", "key = 'a/00.bin'", "-q")
    clone.datapin("remove", "data/raw", "--where", "key = 'b/05.bin'", "-q")
    clone.commit("v2")
    clone.git("tag", "v2")
    clone.datapin("push", "-q")
    return top


@pytest.fixture
def stock(made: Path, tmp_path: Path) -> Clone:
    shutil.copytree(made, tmp_path / "top", symlinks=True)
    return Clone(tmp_path / "top" / "repo")


def rows(clone: Clone, folder: str = "data/raw") -> dict[str, str]:
    """Key and label of every row, by a program that never heard of datapin."""
    found: dict[str, str] = json.loads(clone.run(sys.executable, "-c", READ_ROWS, clone.path / folder).stdout)
    return found


def is_up_to_date(clone: Clone) -> bool:
    return "Data and pipelines are up to date." in clone.dvc("status").stdout


def test_dvc_finds_nothing_to_do_after_add_commit_and_push(stock: Clone) -> None:
    before = stock.files("data")
    assert is_up_to_date(stock)
    assert "in sync" in stock.dvc("status", "-c").stdout
    assert stock.dvc("diff").stdout == ""
    for words in ("checkout", "pull", "push"):
        said = stock.dvc(words).stdout
        assert "M " not in said, words
    assert "up to date" in said
    changed = json.loads(stock.dvc("diff", "v1", "v2", "--json").stdout)
    assert {entry["path"] for entry in changed["modified"]} == {"data/raw/", "data/raw/part-00000.parquet"}
    assert stock.files("data") == before
    assert stock.git("status", "--porcelain") == ""


def test_dvc_gc_keeps_the_work_trees_version_and_pull_brings_the_other_back(stock: Clone) -> None:
    expected = rows(stock)
    stock.dvc("gc", "-w", "-f")
    assert is_up_to_date(stock)
    assert rows(stock) == expected
    assert stock.json("status")["datasets"][0]["missing_local"] == 0, "DVC's garbage is not ours"
    assert stock.json("diff", "data/raw", "v1", "--limit", "0")["removed"] == 1, "the old manifest is fetched"
    stock.git("checkout", "-q", "v1")
    stock.dvc("pull")
    assert is_up_to_date(stock)
    assert rows(stock)["a/00.bin"] == "a"
    assert stock.json("status")["datasets"][0]["head"] == NOTHING


def test_a_rollback_is_a_change_like_others_to_dvc(stock: Clone) -> None:
    stock.datapin("rollback", "data/raw", "--to", "v1")
    assert is_up_to_date(stock)
    changed = json.loads(stock.dvc("diff", "--json").stdout)
    assert {entry["path"] for entry in changed["modified"]} == {"data/raw/", "data/raw/part-00000.parquet"}
    stock.dvc("checkout")
    assert rows(stock)["a/00.bin"] == "a"
    assert stock.git("status", "--porcelain").split() == ["M", "data/raw.dvc"]
    stock.commit("back to v1")
    assert "up to date" in stock.dvc("push").stdout
    stock.dvc("gc", "-w", "-f")
    assert rows(stock)["a/00.bin"] == "a"


def test_git_checkout_and_dvc_checkout_are_enough_to_change_versions(stock: Clone) -> None:
    stock.datapin("checkout", "data/raw", "--into", "out")
    stock.git("checkout", "-q", "v1")
    assert "data/raw.dvc" in stock.dvc("status").stdout
    assert "M " in stock.dvc("checkout").stdout
    assert is_up_to_date(stock)
    one = stock.json("status")["datasets"][0]
    assert (one["head"], one["missing_local"]) == (NOTHING, 0)
    assert len(rows(stock)) == 12
    stock.datapin("checkout", "data/raw", "--into", "out")
    assert stock.files("out") == stock.files("img")


def test_a_clone_without_datapin_pulls_the_manifests_and_reads_the_rows(stock: Clone) -> None:
    programs = stock.path.parent / "programs"
    programs.mkdir()
    (programs / "dvc").symlink_to(BIN / "dvc")
    path = f"{programs}:/usr/bin:/bin"
    assert shutil.which("datapin", path=path) is None
    assert shutil.which("git-datapin", path=path) is None
    bare = Clone(stock.path.parent / "bare")
    stock.git("clone", "-q", stock.path, bare.path)
    assert "merge.datapin" not in bare.git("config", "--list")
    for words in (
        ["dvc", "pull", "-q"],
        ["dvc", "status"],
        ["git", "diff", "v1", "v2"],  # .gitattributes names a driver that nobody has set up here
        ["git", "log", "-p", "--", "data/raw.dvc"],
        ["git", "checkout", "-q", "-b", "mine", "v1"],
        ["dvc", "pull", "-q"],
    ):
        bare.run(*words, PATH=path)
    assert len(rows(bare)) == 12
    (bare.path / "notes.txt").write_text("mine\n")
    bare.run("git", "add", "notes.txt", PATH=path)
    bare.run("git", "commit", "-qm", "mine", PATH=path)
    bare.run("git", "merge", "-q", "--no-edit", "v2", PATH=path)
    bare.run("dvc", "checkout", "-q", PATH=path)
    assert rows(bare)["a/00.bin"] == "z"
    # A row edited with pandas alone, pinned with DVC alone, is a version for those who have datapin.
    edit = "import pandas; f = pandas.read_parquet('data/raw'); f.loc[0, 'label'] = 'q'; "
    edit += "f.to_parquet('data/raw/part-00000.parquet', index=False)"
    (bare.path / "data" / "raw" / "part-00000.parquet").chmod(0o644)
    bare.run(sys.executable, "-c", edit, PATH=path)
    bare.run("dvc", "add", "-q", "data/raw", PATH=path)
    bare.run("git", "commit", "-qam", "edited with pandas", PATH=path)
    bare.run("dvc", "push", "-q", PATH=path)
    stock.run("git", "pull", "-q", bare.path, "mine")
    stock.datapin("fetch", "-q")
    stock.dvc("checkout", "-q")
    assert is_up_to_date(stock)
    (changed,) = stock.json("diff", "data/raw", "v2")["rows"]
    assert (changed["key"], changed["after"]) == ("a/00.bin", {"label": "q"})


def test_an_imported_dataset_has_rows_and_its_assets_come_from_a_remote_that_has_them(
    stock: Clone, blank: Path
) -> None:
    user = Clone(stock.path.parent / "user")
    shutil.copytree(blank, user.path, symlinks=True)
    user.dvc("import", "-q", stock.path, "data/raw", "-o", "raw", "--rev", "v1")
    user.commit("imported")
    assert is_up_to_date(user)
    assert rows(user, "raw")["a/00.bin"] == "a"
    assert user.json("show", "raw")["rows"] == 12
    assert len(user.json("ls", "raw", "--where", "label = 'a'")) == 6
    assert user.json("status")["datasets"][0]["missing_local"] == 12
    message, hint = user.refusal("checkout", "raw", "--into", "out", code=20)
    assert "12 asset(s)" in message
    assert "a/00.bin" in message
    assert "remote" in f"{message} {hint}"
    # The remote of the repository it came from has the assets: once it is ours too, they are fetched.
    user.dvc("remote", "add", "-q", "-d", "theirs", stock.path.parent / "lab")
    user.datapin("checkout", "raw", "--into", "out")
    assert user.files("out") == stock.files("img")
    user.dvc("update", "-q", "raw.dvc", "--rev", "v2")
    assert rows(user, "raw")["a/00.bin"] == "z"
    assert user.json("diff", "raw", "HEAD", "--limit", "0")["changed"] == 1
    assert is_up_to_date(user)


def test_experiments_run_our_stages_and_leave_the_commit_alone(stock: Clone) -> None:
    for number in range(40):
        image = stock.path / "digits" / str(number % 2) / f"{number:02}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(picture(number))
    (stock.path / ".gitignore").write_text("/img\n/out\n/digits\n")
    stock.datapin("add", "digits", "--to", "data/digits", "--label", "parent", "-q")
    (stock.path / "dvc.yaml").write_text(PIPELINE)
    (stock.path / "params.yaml").write_text("prepare:\n  input: data/digits\n  split: {train: 0.5, val: 0.5}\n")
    stock.dvc("repro", "-q")
    head = stock.commit("a pipeline")
    stock.dvc("exp", "run", "-q", "-n", "tried", "-S", "prepare.split.train=0.8", "-S", "prepare.split.val=0.2")
    assert stock.git("rev-parse", "HEAD").strip() == head
    assert "tried" in stock.dvc("exp", "list").stdout
    splits = stock.json("show", "data/prepared")["splits"]
    assert splits["train"] > stock.json("show", "data/prepared@HEAD")["splits"]["train"]
    stock.dvc("exp", "branch", "-q", "tried", "better")
    assert stock.json("show", "data/prepared@better")["splits"] == splits
    stock.git("checkout", "-q", "-f", "main")
    stock.dvc("checkout", "-q", "--force")
    assert is_up_to_date(stock)
    stock.dvc("exp", "apply", "-q", "tried")
    assert stock.json("show", "data/prepared")["splits"] == splits
    assert is_up_to_date(stock)
