"""What a rollback will put in place, made ready before anything changes: durable, on the file system of its target."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from datapin.base import failpoints
from datapin.base.errors import Refused
from datapin.base.files import fsync_directory, fsync_path, make_directory, sweep_temporaries, temporary_name, write_all
from datapin.base.state import folder_to_stage
from datapin.dvcfiles.laying_out import COPIES, lay_out_file, link_kinds
from datapin.rollback.journal import Placement, discard, fingerprint

_THREADS = 8  # they wait for the disk


class Staging:
    """Files and folders on their way; `scratch` is where they wait if that is on the same file system."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._scratch = scratch
        sweep_temporaries(scratch)
        self._kinds = link_kinds(root)
        self.placements: list[Placement] = []
        self.rows: list[Path] = []

    @property
    def makes_copies(self) -> bool:
        """Whether DVC's settings ask for copies in the work tree, not links into its cache."""
        return set(self._kinds) <= set(COPIES)

    def add_text(self, target: Path, data: bytes) -> None:
        """A small file that Git keeps; it gets the mode of the one that is there."""
        if target.is_symlink():
            raise Refused(f"{target} is a link, it would be replaced by a file", "put the file itself there")
        staged = self._staged_for(target, is_text=True)
        number = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        try:
            write_all(number, data)
            if target.is_file():
                os.fchmod(number, stat.S_IMODE(target.stat().st_mode))
            os.fsync(number)
        finally:
            os.close(number)
        self._is_staged(staged)

    def add_file(self, target: Path, cached: Path, *, is_executable: bool = False) -> None:
        """An output of one file, laid out from DVC's cache as DVC would."""
        staged = self._staged_for(target)
        lay_out_file(cached, staged, self._kinds)
        if is_executable and not staged.is_symlink() and staged.stat().st_nlink == 1:
            staged.chmod(staged.stat().st_mode | 0o111)
        self._is_staged(staged)

    def add_folder(
        self, target: Path, files: Sequence[tuple[str, Path]], kept: Mapping[str, Path] | None = None
    ) -> None:
        """An output folder, laid out from DVC's cache as DVC would; `kept` gives files of these names that are here.

        Those are linked, and have one name again when the old folder is gone: they are not written anew.
        """
        staged = self._staged_for(target)
        staged.mkdir()
        for folder in sorted({Path(name).parent for name, _ in files}):
            (staged / folder).mkdir(parents=True, exist_ok=True)

        def put(one: tuple[str, Path]) -> None:
            name, cached = one
            here = None if kept is None else kept.get(name)
            if here is None or not _linked(here, staged / name):
                lay_out_file(cached, staged / name, self._kinds)

        with ThreadPoolExecutor(_THREADS) as threads:
            for _ in threads.map(put, files):
                failpoints.hit("rollback.file")
        for place, _, _ in os.walk(staged):
            fsync_directory(place)
        self._is_staged(staged)

    def add_rows(self, rows: pa.Table) -> Path:
        """Rows that a later step reads: where they are kept."""
        make_directory(self._scratch)
        path = self._scratch / temporary_name()
        self.rows.append(path)
        with pa.OSFile(os.fspath(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)
        fsync_path(path)
        return path

    def discard(self) -> None:
        """Take everything away again."""
        discard(self.placements, self.rows)

    def _staged_for(self, target: Path, *, is_text: bool = False) -> Path:
        make_directory(self._scratch)
        place = folder_to_stage(self._scratch, target)
        staged = place / temporary_name()
        aside = place / f"{staged.name}.old"
        before = fingerprint(target, by_content=is_text)
        self.placements.append(Placement(str(staged), str(target), str(aside), before))
        return staged

    def _is_staged(self, staged: Path) -> None:
        fsync_directory(staged.parent)
        failpoints.hit("rollback.staged")


def _linked(here: Path, path: Path) -> bool:
    with suppress(OSError):
        status = here.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return False
        os.link(here, path)
        return True
    return False
