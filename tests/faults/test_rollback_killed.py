"""A rollback killed at every failpoint: old or new once anybody looks, and a second run ends as a clean one does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from clones import Clone, write_images
from datapin.base import failpoints
from datapin.cli.main import main
from datapin.manifest.manifest import Manifest
from sweeps import some

ROLLBACK = ("rollback", "--all", "--to", "v1")


@pytest.fixture(scope="module")
def versions(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, a model and parameters in two versions, one dataset checked out into `out`; autostage is on."""
    top = tmp_path_factory.mktemp("versions")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    clone.dvc("config", "core.autostage", "true")
    for name in ("raw", "other"):
        write_images(clone.path / name)
        clone.datapin("add", name, "--to", f"data/{name}", "--label", "parent", "-q")
    write_model(clone, "one")
    clone.commit("v1")
    clone.git("tag", "v1")
    for name in ("raw", "other"):
        write_images(clone.path / f"more-{name}", per_class=2, classes="cd")
        clone.datapin("add", f"more-{name}", "--to", f"data/{name}", "-q")
        clone.datapin("remove", f"data/{name}", "--where", "key LIKE 'a/0%'", "-q")
    write_model(clone, "two")
    (clone.path / ".gitignore").write_text((clone.path / ".gitignore").read_text() + "/out\n")
    clone.commit("v2")
    return clone.path


def write_model(clone: Clone, word: str) -> None:
    (clone.path / "model.bin").unlink(missing_ok=True)
    (clone.path / "model.bin").write_text(word)
    (clone.path / "params.yaml").write_text(f"word: {word}\n")
    clone.dvc("add", "-q", "model.bin")


@pytest.fixture(scope="module")
def victims(versions: Path) -> Iterator[Callable[[], Clone]]:
    """Gives the same repository again and again, at one place: a checkout knows its tree by its path."""
    place, kept = versions.parent / "victim", versions.parent / "kept"
    shutil.copytree(versions, place, symlinks=True)
    assert run(Clone(place), "checkout", "data/raw", "--into", "out", "-q") == 0
    shutil.copytree(place, kept, symlinks=True)

    def give() -> Clone:
        shutil.rmtree(place)
        shutil.copytree(kept, place, symlinks=True)
        return Clone(place)

    yield give
    shutil.rmtree(place)


def run(clone: Clone, *words: str, armed: str = "", log: str = "") -> int:
    """A command in a fork of this process, which a failpoint may kill."""
    child = os.fork()
    if child == 0:
        code: int | str | None = 70
        try:
            failpoints._armed, failpoints._log = armed, log
            with chdir(clone.path), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                main(words)
        except SystemExit as ended:
            code = ended.code
        finally:
            os._exit(int(code or 0))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def seen(clone: Clone) -> dict[str, bytes]:
    """What a rollback may change: pointers, manifests, the tree, and Git's view of them."""
    files = {
        path.relative_to(clone.path).as_posix(): path.read_bytes()
        for folder in ("data", "out")
        for path in sorted((clone.path / folder).rglob("*"))
        if path.is_file()
    }
    files |= {name: (clone.path / name).read_bytes() for name in ("model.bin", "model.bin.dvc", "params.yaml")}
    return {**files, "git status": clone.git("status", "--porcelain").encode()}


def finished(clone: Clone) -> dict[str, bytes]:
    """As any datapin command leaves it."""
    assert run(clone, "status", "-q") == 0
    return seen(clone)


def no_leftovers(clone: Clone) -> None:
    scratch = clone.path / ".git" / "datapin" / "tmp"
    assert not list((scratch / "journal").glob("*"))
    assert not list((scratch / "rollback").glob("*"))
    Manifest.open(clone.path / "data" / "raw").verify()


def test_a_rollback_killed_anywhere_is_old_or_new_and_is_finished(victims: Callable[[], Clone], tmp_path: Path) -> None:
    clean = victims()
    old = seen(clean)
    assert run(clean, *ROLLBACK, log=str(tmp_path / "points")) == 0
    hits = (tmp_path / "points").read_text().split()
    new = seen(clean)
    assert old != new
    assert {"rollback.brought", "rollback.staged", "rollback.journal.written", "rollback.journal.renamed"} <= set(hits)
    assert {"rollback.aside", "rollback.placed", "rollback.tree", "rollback.indexed", "rollback.done"} <= set(hits)
    plan = sorted({(name, count) for name in hits for count in {1, hits.count(name)}})
    for name, count in some(plan, 24):
        clone = victims()
        assert run(clone, *ROLLBACK, armed=f"{name}:{count}:exit") == failpoints.KILLED, f"{name} was not reached"
        there = finished(clone)
        assert there in (old, new), f"{name}:{count}: neither the old nor the new versions"
        if name.startswith(("rollback.placed", "rollback.tree", "rollback.indexed")):
            assert there == new, f"{name}: what had begun was not finished"
        assert run(clone, *ROLLBACK) == 0, name
        assert seen(clone) == new, f"{name}:{count}: the second run differs from a clean one"
        no_leftovers(clone)


def test_a_full_disk_before_the_journal_changes_nothing(victims: Callable[[], Clone]) -> None:
    for name in ("rollback.file", "rollback.staged", "rollback.journal.written"):
        clone = victims()
        old = seen(clone)
        assert run(clone, *ROLLBACK, armed=f"{name}:1:oserror=28") == 30, name
        assert seen(clone) == old
        assert not list((clone.path / ".git" / "datapin" / "tmp").glob(".tmp-*")), (
            f"{name}: what was staged stays behind"
        )
        assert run(clone, *ROLLBACK) == 0


def test_a_disk_that_fills_up_afterwards_is_gone_on_with(victims: Callable[[], Clone], tmp_path: Path) -> None:
    clean = victims()
    assert run(clean, *ROLLBACK) == 0
    new = seen(clean)
    for name in ("rollback.placed", "checkout.file.written"):
        clone = victims()
        assert run(clone, *ROLLBACK, armed=f"{name}:1:oserror=28") == 30, name
        assert finished(clone) == new, name
        no_leftovers(clone)


def test_what_git_has_changed_since_a_kill_is_not_overwritten(victims: Callable[[], Clone]) -> None:
    clone = victims()
    assert run(clone, *ROLLBACK, armed="rollback.journal.renamed:1:exit") == failpoints.KILLED
    text = (clone.path / "data" / "raw.dvc").read_text()
    (clone.path / "data" / "raw.dvc").write_text(f"{text}desc: mine\n")
    assert run(clone, "status", "-q") == 0
    assert (clone.path / "data" / "raw.dvc").read_text() == f"{text}desc: mine\n"
    assert clone.git("status", "--porcelain") == " M data/raw.dvc\n"
    no_leftovers(clone)


def test_files_edited_after_a_kill_stay_and_all_else_is_finished(victims: Callable[[], Clone]) -> None:
    clone = victims()
    assert run(clone, *ROLLBACK, armed="rollback.journal.renamed:1:exit") == failpoints.KILLED
    (clone.path / "out" / "c" / "00.bin").write_bytes(b"mine")
    there = finished(clone)
    assert there["out/c/00.bin"] == b"mine"
    assert there["data/raw.dvc"] == clone.git("show", "v1:data/raw.dvc").encode()
    no_leftovers(clone)
