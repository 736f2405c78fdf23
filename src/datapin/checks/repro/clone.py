"""A clean clone of one commit in a temporary place, with its inputs and nothing that a stage of it has ever written.

Git's objects are shared and only read. The clone has a cache of DVC's and a store of its own, so whatever runs there
can neither find old results nor change the user's cache, store, memo or remote.
"""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from datapin.base.errors import Refused, StorageFailed, ToolFailed
from datapin.base.id_columns import ids_from_hex
from datapin.base.ids import RAW_ID_BYTES
from datapin.base.processes import GIT_PLACES, git_words
from datapin.base.settings import CONFIG, CONFIG_LOCAL, FOLDER
from datapin.checks.repro.outputs import PinnedOutputs, is_manifest
from datapin.dvcfiles.stages import LockedFile
from datapin.git.ask import top_directory
from datapin.manifest.columns.columns import one_array
from datapin.manifest.columns.schema import asset_columns
from datapin.manifest.manifest import Manifest
from datapin.pipeline.record.environment_file import environment_path
from datapin.pipeline.record.record import RECORD
from datapin.store.lending import lend

_DVC_PLACES = ("DVC_ROOT", "DVC_STAGE")


@dataclass(frozen=True, slots=True)
class CleanClone:
    """One commit, checked out. `root` is DVC's root in it, `scratch` a folder beside it; both are gone in the end.

    `store` is where its store is to lie.
    """

    root: Path
    scratch: Path
    store: Path
    environment: dict[str, str]  # for commands that run in it
    jobs: int  # how many workers its stages take


@contextmanager
def clean_clone(pinned: PinnedOutputs) -> Iterator[CleanClone]:
    """The commit in a temporary place, without anything that DVC keeps or a stage writes; removed in the end.

    Raises ToolFailed, StorageFailed; Refused if what runs there would write to another place.
    """
    subject = pinned.subject
    with _temporary_folder() as scratch:
        environment = {
            **{name: value for name, value in os.environ.items() if name not in (*GIT_PLACES, *_DVC_PLACES)},
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(scratch / "site"),  # else DVC leaves notes about the clone on this machine
        }
        top = top_directory(subject.root)
        # Hooks are for people's own clones; a filter that the commit asks for (LFS) is part of checking it out.
        clone = scratch / "clone"
        where = ("--shared", "--no-checkout", os.fspath(top), os.fspath(clone))
        _run(git_words(scratch, "clone", "--quiet", *where), environment)
        commit = ("--quiet", "--detach", pinned.commit, "--")
        _run(git_words(clone, "checkout", *commit, settings=("advice.detachedHead=false",)), environment)
        root = clone / subject.root.resolve().relative_to(top.resolve())
        _refuse_ways_out(pinned, root)
        _remove_outputs(pinned, root)
        # Another number than here, and no slower.
        jobs = next(number for number in count(subject.jobs + 1) if number != os.cpu_count())
        _write_settings(root, scratch, jobs=jobs)
        yield CleanClone(root, scratch, scratch / "store", environment, jobs)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        # Outside of the work tree: what looks for files in the folders above must not find the old ones.
        folder = Path(tempfile.mkdtemp(prefix="datapin-repro-")).resolve()
    except OSError as error:
        raise StorageFailed("write to", tempfile.gettempdir(), error.strerror or str(error)) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():  # a stage made a folder read-only
            for place, names, _ in os.walk(folder):
                for inner in (os.path.join(place, name) for name in names):
                    with suppress(OSError):
                        if not os.path.islink(inner):
                            os.chmod(inner, 0o700)
            shutil.rmtree(folder, ignore_errors=True)


def _run(words: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(words, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        verb = "clone" if "clone" in words else "checkout"
        raise ToolFailed("git", f"`git {verb}` ended with {done.returncode}: {lines[-1] if lines else 'no message'}")


def _refuse_ways_out(pinned: PinnedOutputs, root: Path) -> None:
    """Raise Refused if a stage, or we, would write to another place than the clone: there is what people work with."""
    paths = [out.path for stage in pinned.stages for out in stage.outs]
    for path in [*paths, *pinned.sources, ".dvc/config.local", f"{FOLDER}/{CONFIG_LOCAL}"]:
        folder = (root / path).parent.resolve()
        if os.path.isabs(path) or not folder.is_relative_to(root):
            reached = path if os.path.isabs(path) else f"{path}, which leads to {folder}"
            hint = "keep outputs in the repository, and what lies elsewhere out of Git's links"
            raise Refused(f"cannot run again in a clean clone what writes {reached}: it is outside of it", hint)


def _remove_outputs(pinned: PinnedOutputs, root: Path) -> None:
    """Git keeps some outputs of stages: what lies there after the rerun must be its own."""
    outputs = [out.path for stage in pinned.stages for out in stage.outs]
    # What a run tells of its machine is written only for outputs that it does not know.
    told = [environment_path(path) for path in outputs if posixpath.basename(path) == RECORD]
    for path in (root / path for path in [*outputs, *told]):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)


def lay_out(pinned: PinnedOutputs, out: LockedFile, root: Path) -> bool:
    """Put a pinned output into the clone; whether it is a dataset. Raises as `PinnedOutputs.files`, StorageFailed."""
    target = root / out.path
    files = pinned.files(out)
    try:
        for name, file in files.items():
            place = target / name if name else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    except OSError as error:
        raise StorageFailed("write", str(target), error.strerror or str(error)) from None
    return is_manifest(list(files))


def lay_out_sources(pinned: PinnedOutputs, clone: CleanClone) -> None:
    """Put the sources into the clone, and the assets of those that are datasets into its store."""
    ids = [np.empty((0, RAW_ID_BYTES), dtype=np.uint8)]
    for path, out in pinned.sources.items():
        if lay_out(pinned, out, clone.root):
            manifest = Manifest.open(clone.root / path, path)
            table = manifest.to_table(asset_columns(manifest.schema))
            ids += [ids_from_hex(one_array(table[name]).drop_null()) for name in table.column_names]
    every = np.concatenate(ids)
    wanted = np.unique(every.view("V32").reshape(-1)).view(np.uint8).reshape(-1, RAW_ID_BYTES)
    pinned.subject.ensure(wanted, "the clean clone")
    lend(pinned.subject.store, wanted, clone.store)


def _write_settings(root: Path, scratch: Path, *, jobs: int) -> None:
    """Both files are ignored by Git, so the clone stays as it was committed."""
    try:
        (root / ".dvc").mkdir(exist_ok=True)
        (root / ".dvc" / "config.local").write_text(
            f"[core]\n    check_update = false\n[cache]\n    dir = {scratch / 'cache'}\n", encoding="utf-8"
        )
        if (root / FOLDER / CONFIG).is_file():
            text = f"jobs = {jobs}\n[store]\ndir = {json.dumps(str(scratch / 'store'))}\n"
            (root / FOLDER / CONFIG_LOCAL).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageFailed("write", str(root), error.strerror or str(error)) from None
