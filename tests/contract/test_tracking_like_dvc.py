"""Pinning a manifest without DVC against DVC's own code: every byte in the repository is the same.

Both ways run in copies of one repository. If a new DVC writes something else, this is where it shows.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clones import ENVIRONMENT, Clone
from datapin.dvcfiles.tracking.plain import LeftToDvc, track_plain
from datapin.dvcfiles.tracking.track import track, track_by_dvc

Situation = Callable[[Clone], None]

SUMMARY = {"digest": "sha256:" + "ab" * 32, "rows": 3, "bytes": 1234567890, "source": ["img"]}


def shards(clone: Clone, *contents: bytes, dataset: str = "data/raw") -> None:
    """A manifest as far as DVC is concerned: it does not look inside."""
    folder = clone.path / dataset
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, data in enumerate(contents):
        (folder / f"part-{number:05d}.parquet").write_bytes(data)


def write(clone: Clone, name: str, text: str) -> None:
    path = clone.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def config(clone: Clone, text: str) -> None:
    with (clone.path / ".dvc" / "config").open("a") as file:
        file.write(text)


def pinned_before(clone: Clone, edit: Callable[[str], str] = lambda text: text) -> None:
    """One version was pinned by DVC, its pointer was edited by hand, and now there are new rows."""
    shards(clone, b"one", b"two")
    track_by_dvc(clone.path, "data/raw", {**SUMMARY, "rows": 2})
    path = clone.path / "data" / "raw.dvc"
    path.write_text(edit(path.read_text()))
    clone.commit("v1")
    shards(clone, b"one", b"changed", b"more")


def noted(text: str) -> str:
    """What users write into a pointer, in the ways they write it."""
    text = text.replace(
        "  path: raw\n", "  path: raw   # keep this\n  desc: 'a: quoted'\n  remote: lab\n  labels: [x, y]\n"
    )
    text = text.replace(
        "  meta:\n", "  type: digits\n  meta:\n    mine: {a: 1, b: [2.50, 0x1f, 2024-01-02, yes, .nan]}\n"
    )
    long = "word " * 40
    return f"# raw images\ndesc: {long}\n{text}\n# the end\nmeta:\n    deep:   &x\n      - 1\n    again: *x\n"


def of_dvc_2_order(text: str) -> str:
    """The same values in another order, one missing."""
    lines = [line for line in text.splitlines() if not line.startswith("  size:")]
    (path,) = (line for line in lines if line.startswith("  path:"))
    lines.remove(path)
    return "\n".join([lines[0], path.replace("  path", "- path"), *(f" {x[1:]}" for x in lines[1:])]) + "\n"


def edited(old: str, new: str) -> Situation:
    return lambda clone: pinned_before(clone, lambda text: text.replace(old, new))


def in_turn(*steps: Situation) -> Situation:
    def make(clone: Clone) -> None:
        for step in steps:
            step(clone)

    return make


def ignoring(text: str) -> Situation:
    return in_turn(lambda clone: write(clone, "data/.gitignore", text), lambda clone: shards(clone, b"one"))


def set_to(*lines: str, then: Situation = lambda clone: shards(clone, b"one")) -> Situation:
    return in_turn(lambda clone: config(clone, "\n".join(lines) + "\n"), then)


def stage(lines: str) -> str:
    return f"stages:\n  s:\n    cmd: x\n    {lines}\n"


def two_sets(clone: Clone) -> None:
    shards(clone, b"other", dataset="data/other")
    track_by_dvc(clone.path, "data/other", SUMMARY)
    write(
        clone,
        "dvc.yaml",
        "stages:\n  s:\n    cmd: x\n    deps: [data/raw]\n    outs:\n    - data/prepared:\n        push: true\n",
    )
    shards(clone, b"one")


def damaged_object(clone: Clone) -> None:
    pinned_before(clone)
    for path in (clone.path / ".dvc" / "cache").rglob("*"):
        if path.is_file() and path.read_bytes() == b"one":
            path.chmod(0o644)
            path.write_bytes(b"damaged")


def with_dvcignore(clone: Clone) -> None:
    write(clone, ".dvcignore", "# comment\n\n/src/\n*.tmp\nnotes\n!data/raw\n")
    shards(clone, b"one")


PLAIN: dict[str, Situation] = {
    "first add": lambda clone: shards(clone, b"one", b"two"),
    "many shards, empty ones, equal ones": lambda clone: shards(clone, *(b"x" * (n % 5) for n in range(40))),
    "larger than a chunk": lambda clone: shards(clone, os.urandom(3 << 20), b"small"),
    "again with other rows": pinned_before,
    "again with the same rows": in_turn(pinned_before, lambda clone: shards(clone, b"one", b"two")),
    "notes of the user": lambda clone: pinned_before(clone, noted),
    "another order": lambda clone: pinned_before(clone, of_dvc_2_order),
    "no summary yet": lambda clone: pinned_before(clone, lambda text: text[: text.index("  meta:")]),
    "a summary of another shape": edited("      - img\n", "      - a\n      - b\n"),
    "an empty description": edited("  path: raw\n", "  path: raw\n  desc: ''\n"),
    "gitignore with a line": ignoring("# mine\n/other\n"),
    "gitignore without line end": ignoring("# größe\n/other"),
    "gitignore is empty": ignoring(""),
    "gitignore knows it": ignoring("/raw\n"),
    "autostage": set_to("[core]", "autostage = true"),
    "autostage again": set_to("[core]", "autostage = True", then=pinned_before),
    "the cache is elsewhere": set_to("[cache]", "dir = ../../elsewhere"),
    "copies only": set_to("[cache]", "type = copy", then=pinned_before),
    "reflinks or copies": set_to("[cache]", "type = reflink,copy", then=pinned_before),
    "settings without a say": set_to(
        "[core]", "analytics = false", "remote = lab", "['remote \"lab\"']", "url = ../lab"
    ),
    "other outputs": two_sets,
    "a damaged object in the cache": damaged_object,
    "a dvcignore about other things": with_dvcignore,
}  # fmt: skip

NAMES = ["raw", "deep/er/down/set", "data/raw set", "data/größe", "data/日本", "123", "yes", "null", "data/raw.v1",
         "it's", 'say "x"', "-dash", "1e3", "data/a, b", "0x1f", "{x}", "@at", "data/&and"]  # fmt: skip


def state_of(clone: Clone) -> dict[str, Any]:
    """Names, bytes and modes of everything but DVC's scratch, and Git's view of it."""
    found: dict[str, Any] = {}
    for top in (clone.path, clone.path.parent / "elsewhere"):
        for path in sorted(top.rglob("*")):
            name = path.relative_to(clone.path.parent).as_posix()
            if "/.git/" not in name and "/.dvc/tmp" not in name:
                mode = stat.S_IMODE(path.lstat().st_mode)
                found[name] = (mode, path.read_bytes()) if path.is_file() else (mode, None)
    status = [line for line in clone.git("status", "--porcelain", "-uall").splitlines() if ".dvc/tmp/" not in line]
    return {**found, "index": clone.git("ls-files", "-s"), "status": status}


def both_ways(clone: Clone, tmp_path: Path, dataset: str, summary: dict[str, Any], below: str = "") -> dict[str, Any]:
    """The state after DVC's way and after ours, which must not differ; the latter is returned."""
    states = []
    for name, way in (("theirs", track_by_dvc), ("ours", track_plain)):
        # Both at one path: some of what is compared may name it.
        shutil.copytree(tmp_path / "repo", tmp_path / name / "repo", symlinks=True)
        if (tmp_path / "elsewhere").exists():
            shutil.copytree(tmp_path / "elsewhere", tmp_path / name / "elsewhere")
        copy = Clone(tmp_path / name / "repo")
        md5 = way(copy.path / below, dataset, summary, timeout_s=5.0)
        states.append({**state_of(copy), "md5": md5})
    theirs, ours = states
    assert ours == theirs
    return ours


@pytest.mark.parametrize("situation", PLAIN.values(), ids=PLAIN.keys())
def test_what_is_written_is_what_dvc_writes(clone: Clone, tmp_path: Path, situation: Situation) -> None:
    situation(clone)
    both_ways(clone, tmp_path, "data/raw", SUMMARY)


def test_names_are_written_as_dvc_writes_them(clone: Clone, tmp_path: Path) -> None:
    for dataset in NAMES:
        shards(clone, dataset.encode(), dataset=dataset)
    for name, way in (("theirs", track_by_dvc), ("ours", track_plain)):
        shutil.copytree(clone.path, tmp_path / name / "repo", symlinks=True)
        for dataset in NAMES:
            way(tmp_path / name / "repo", dataset, SUMMARY, timeout_s=5.0)
    assert state_of(Clone(tmp_path / "ours" / "repo")) == state_of(Clone(tmp_path / "theirs" / "repo"))


@pytest.mark.parametrize(
    "source",
    [
        [],
        ["a b " * 40],
        ["größe", "日本", "yes", "1", "null", "#x", "a: b", "*", "trailing ", "\ttab", "😀"],
        [None, True, 1.5],
    ],
    ids=["none", "long", "odd words", "not words"],
)
def test_a_summary_is_written_as_dvc_writes_it(clone: Clone, tmp_path: Path, source: list[Any]) -> None:
    pinned_before(clone)
    both_ways(clone, tmp_path, "data/raw", {**SUMMARY, "source": source})


def test_a_dvc_root_below_gits_is_written_as_dvc_writes_it(clone: Clone, tmp_path: Path) -> None:
    (clone.path / "sub").mkdir()
    Clone(clone.path / "sub").dvc("init", "-q", "--subdir")
    config(Clone(clone.path / "sub"), "[core]\n    autostage = true\n")
    shards(clone, b"one", dataset="sub/data/raw")
    state = both_ways(clone, tmp_path, "data/raw", SUMMARY, below="sub")
    assert "sub/data/raw.dvc" in state["index"]


def hard_linked(clone: Clone) -> None:
    shards(clone, b"one")
    os.link(clone.path / "data/raw/part-00000.parquet", clone.path / "twin")


def linked_folder(clone: Clone) -> None:
    shards(clone, b"one", dataset="there/raw")
    (clone.path / "data").symlink_to("there")


def linked_pointer(clone: Clone) -> None:
    pinned_before(clone)
    (clone.path / "data" / "raw.dvc").rename(clone.path / "moved")
    (clone.path / "data" / "raw.dvc").symlink_to("../moved")


def tracked_by_git(clone: Clone) -> None:
    shards(clone, b"one")
    clone.commit("by mistake")


def in_use(clone: Clone) -> None:
    shards(clone, b"one")
    (clone.path / ".dvc" / "tmp").mkdir(exist_ok=True)
    register = {"read": {f"{clone.path}/data": [{"pid": os.getpid(), "cmd": "a stage"}]}}
    (clone.path / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(register))


def beside(name: str, text: str) -> Situation:
    return in_turn(lambda clone: shards(clone, b"one"), lambda clone: write(clone, name, text))


OUT = "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: {}\n"


def not_utf_8(clone: Clone) -> None:
    shards(clone, b"1")
    (clone.path / "data/.gitignore").write_bytes(b"\xff\n")


LEFT: dict[str, Situation] = {
    "hard links": set_to("[cache]", "type = hardlink,copy"),
    "symlinks": set_to("[cache]", "type = symlink"),
    "a shared cache": set_to("[cache]", "shared = group"),
    "a checked cache": set_to("[cache]", "verify = true"),
    "locks by hard links": set_to("[core]", "hardlink_lock = true"),
    "no Git": set_to("[core]", "no_scm = true"),
    "an unknown section": set_to("[surprise]", "x = 1"),
    "an odd autostage": set_to("[core]", "autostage = maybe"),
    "two outputs": edited("outs:\n", OUT.format("x")),
    "frozen": edited("outs:\n", "frozen: true\nouts:\n"),
    "a working folder": edited("outs:\n", "wdir: .\nouts:\n"),
    "dependencies": edited("outs:\n", "deps:\n- path: x\nouts:\n"),
    "an output of DVC 2": edited("  hash: md5\n", ""),
    "not in the cache": edited("  path: raw\n", "  path: raw\n  cache: false\n"),
    "never pushed": edited("  path: raw\n", "  path: raw\n  push: false\n"),
    "a path in other words": edited("  path: raw\n", "  path: ./raw\n"),
    "a merge conflict": edited("outs:\n", "<<<<<<< ours\nouts:\n"),
    "no mapping": lambda clone: pinned_before(clone, lambda text: "- x\n"),
    "other line ends": edited("\n", "\r\n"),
    "an executable pointer": in_turn(pinned_before, lambda clone: (clone.path / "data/raw.dvc").chmod(0o755)),
    "a linked pointer": linked_pointer,
    "another file in the folder": beside("data/raw/README.md", "x"),
    "a folder in the folder": beside("data/raw/more/part-00000.parquet", "x"),
    "a shard with two names": hard_linked,
    "a linked folder": linked_folder,
    "no folder": lambda clone: None,
    "an empty folder": lambda clone: (clone.path / "data" / "raw").mkdir(parents=True),
    "tracked by Git": tracked_by_git,
    "ignored by another line": beside(".gitignore", "data/*\n"),
    "ignored as a folder": beside(".gitignore", "raw/\n"),
    "taken out of what is ignored": beside("data/.gitignore", "/raw\n!/raw\n"),
    "an ignored pointer": beside(".gitignore", "*.dvc\n"),
    "DVC's scratch is not ignored": beside(".dvc/.gitignore", "/config.local\n/cache\n"),
    "not UTF-8": not_utf_8,
    "dvcignored": beside(".dvcignore", "raw\n"),
    "dvcignored shards": beside("data/.dvcignore", "**/part-*\n"),
    "dvcignored above": beside(".dvcignore", "/data/\n"),
    "dvcignored by a class": beside(".dvcignore", "ra[w]\n"),
    "another repository": beside("data/.dvc/config", ""),
    "a stage's output": beside("dvc.yaml", stage("outs: [data/raw]")),
    "a stage's output above": beside("dvc.yaml", stage("outs:\n    - data:\n        cache: false")),
    "a stage's plots": beside("p/dvc.yaml", stage("wdir: ..\n    plots: [data/raw/x]")),
    "a stage with a template": beside("dvc.yaml", "stages: {s: {foreach: [a], do: {cmd: x, outs: ['${item}']}}}"),
    "a broken pipeline": beside("dvc.yaml", "stages: [\n"),
    "a pointer above": beside("data.dvc", OUT.format("data")),
    "a pointer from elsewhere": beside("x/y.dvc", OUT.format("../data/raw/z")),
    "a pointer to the pointer": beside("x.dvc", OUT.format("data/raw.dvc")),
    "a running stage": in_use,
    "a broken register": beside(".dvc/tmp/rwlock", "{"),
}  # fmt: skip


@pytest.mark.parametrize("situation", LEFT.values(), ids=LEFT.keys())
def test_what_is_not_plain_is_left_to_dvc_untouched(clone: Clone, situation: Situation) -> None:
    situation(clone)
    before = state_of(clone)
    with pytest.raises(LeftToDvc):
        track_plain(clone.path, "data/raw", SUMMARY, timeout_s=5.0)
    assert state_of(clone) == before


@pytest.mark.parametrize("name", ["a*b", "a[b]", "a?", "a\\b", "#a", "!a", "a ", "s3:x", "~a", "a\nb", "a\udcff"])
def test_a_name_that_gitignore_or_dvc_reads_otherwise_is_left_to_dvc(clone: Clone, name: str) -> None:
    shards(clone, b"one", dataset=f"data/{name}")
    with pytest.raises(LeftToDvc):
        track_plain(clone.path, f"data/{name}", SUMMARY, timeout_s=5.0)


def test_stock_dvc_works_on_what_we_wrote(clone: Clone, tmp_path: Path) -> None:
    clone.dvc("remote", "add", "-d", "lab", tmp_path / "lab")
    for contents in ((b"one", b"two"), (b"one", b"three", b"four")):
        shards(clone, *contents)
        track(clone.path, "data/raw", SUMMARY)
        assert "up to date" in clone.dvc("status").stdout
        clone.commit("a version")
        clone.dvc("push", "-q")
    assert clone.git("status", "--porcelain") == ""
    clone.git("clone", "-q", clone.path, tmp_path / "other")
    other = Clone(tmp_path / "other")
    other.dvc("pull", "-q")
    assert other.files("data", "raw") == clone.files("data", "raw")
    other.git("checkout", "-q", "HEAD~1")
    other.dvc("pull", "-q")
    clone.git("checkout", "-q", "HEAD~1")
    clone.dvc("checkout", "-q")
    assert clone.files("data", "raw") == other.files("data", "raw")
    assert set(clone.files("data", "raw").values()) == {b"one", b"two"}
    assert "up to date" in clone.dvc("status").stdout


def first_commit(clone: Clone) -> str:
    return clone.git("rev-list", "--max-parents=0", "HEAD").strip()


@pytest.mark.parametrize("site_cache", [None, "env", "setting"])
@pytest.mark.parametrize("way", [track_by_dvc, track_plain])
def test_dvc_checkout_takes_the_folder_away_in_a_commit_without_it(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[..., str], site_cache: str | None
) -> None:
    if site_cache == "env":
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
        monkeypatch.setitem(ENVIRONMENT, "DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    elif site_cache == "setting":
        clone.dvc("config", "--local", "core.site_cache_dir", tmp_path / "site")
    clone.dvc("status", "-q")  # DVC makes its register when it first runs
    for contents in ((b"one",), (b"one", b"two")):
        shards(clone, *contents)
        way(clone.path, "data/raw", SUMMARY, timeout_s=5.0)
        clone.commit("a version")
    clone.git("checkout", "-q", first_commit(clone))
    clone.dvc("checkout", "-q")
    assert not (clone.path / "data" / "raw").exists()
    clone.git("checkout", "-q", "main")
    clone.dvc("checkout", "-q")
    assert set(clone.files("data", "raw").values()) == {b"one", b"two"}


@pytest.mark.parametrize("way", [track_by_dvc, track_plain])
def test_dvc_checkout_leaves_a_folder_that_was_edited_since(clone: Clone, way: Callable[..., str]) -> None:
    clone.dvc("status", "-q")
    shards(clone, b"one")
    way(clone.path, "data/raw", SUMMARY, timeout_s=5.0)
    clone.commit("a version")
    (clone.path / "data" / "raw" / "part-00000.parquet").write_bytes(b"mine")
    clone.git("checkout", "-q", first_commit(clone))
    clone.dvc("checkout", "-q", code=None)
    assert clone.files("data", "raw") == {"part-00000.parquet": b"mine"}


@pytest.mark.parametrize("damage", ["absent", "no database", "in use"])
def test_a_register_that_cannot_be_written_stops_nothing(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setitem(ENVIRONMENT, "DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    clone.dvc("status", "-q")
    (register,) = (tmp_path / "site").rglob("links/cache.db")
    shards(clone, b"one")
    if damage == "absent":
        shutil.rmtree(tmp_path / "site")
    elif damage == "no database":
        register.write_bytes(b"x" * 5000)
    with closing(sqlite3.connect(register if damage == "in use" else ":memory:")) as other:
        other.execute("BEGIN EXCLUSIVE")
        track_plain(clone.path, "data/raw", SUMMARY, timeout_s=5.0)
    assert (clone.path / "data" / "raw.dvc").is_file()
    assert damage != "absent" or not (tmp_path / "site").exists()
