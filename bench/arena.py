"""A fresh file system for every timed run.

Creating 100,000 files takes 3 s on a new ext4 and ten times that on an aged one, so runs that share one do not
compare. As root each run gets a newly made ext4 on a loop device; otherwise a new folder, and the results say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMAGE = "arena.ext4"
MOUNT = "mount"
TRASH = "trash"
UNMOUNT_TRIES = 20
UNMOUNT_PAUSE_S = 0.5


class LoopArena:
    """A new ext4 per run, on a loop device over one image file whose blocks are written beforehand."""

    def __init__(self, work: Path, size_bytes: int) -> None:
        self._mount = work / MOUNT
        image = work / IMAGE
        _detach_leftovers(self._mount, image)
        self._mount.mkdir(exist_ok=True)
        _write_zeros(image, size_bytes)
        self._device, direct = _attach(image)
        self.description = f"ext4, new for every run, on a loop device ({'direct' if direct else 'buffered'} I/O)"

    @contextmanager
    def fresh(self, inodes: int = 1_000_000) -> Iterator[Path]:
        """An empty ext4 with room for `inodes` files."""
        # Nothing is left to initialise in the background, where it would be charged to whoever runs then.
        options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0"
        _call("mkfs.ext4", "-q", "-F", "-E", options, "-N", str(inodes), self._device)
        _call("mount", "-o", "noatime", self._device, str(self._mount))
        try:
            yield self._mount
        finally:
            _unmount(self._mount)

    def close(self) -> None:
        """Detach the loop device."""
        _call("losetup", "--detach", self._device)


class FolderArena:
    """A new folder per run on the file system of `work`; used folders are renamed away, never deleted in between."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._trash = work / TRASH
        self._trash.mkdir(exist_ok=True)
        self.description = "a new folder per run on an existing file system (not root): figures drift as it ages"

    @contextmanager
    def fresh(self, inodes: int = 1_000_000) -> Iterator[Path]:
        """An empty folder."""
        folder = self._work / f"run-{time.monotonic_ns()}"
        folder.mkdir()
        try:
            yield folder
        finally:
            folder.rename(self._trash / folder.name)

    def close(self) -> None:
        """Delete what the runs left."""
        shutil.rmtree(self._trash, ignore_errors=True)


Arena = LoopArena | FolderArena


@contextmanager
def open_arena(work: Path, size_bytes: int) -> Iterator[Arena]:
    """A LoopArena where this user may have one, else a FolderArena."""
    work.mkdir(parents=True, exist_ok=True)
    arena: Arena
    try:
        if os.geteuid() != 0:
            raise PermissionError("not root")
        arena = LoopArena(work, size_bytes)
    except (OSError, subprocess.CalledProcessError) as error:
        arena = FolderArena(work)
        arena.description += f"; no loop device: {error}"
    try:
        yield arena
    finally:
        arena.close()
        (work / IMAGE).unlink(missing_ok=True)


def _detach_leftovers(mount: Path, image: Path) -> None:
    # A bench that was killed leaves its file system mounted and its loop device attached.
    if mount.is_mount():
        _unmount(mount)
    if image.exists():
        for line in _call("losetup", "--noheadings", "--output", "NAME", "--associated", str(image)).split():
            _call("losetup", "--detach", line)


def _write_zeros(image: Path, size_bytes: int) -> None:
    # Written, not truncated: the first write to a hole would pay for the allocation below the loop device.
    block = bytes(4 << 20)
    with open(image, "wb") as file:
        for _ in range(-(-size_bytes // len(block))):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _attach(image: Path) -> tuple[str, bool]:
    attach = ("losetup", "--find", "--show")
    try:
        # Direct I/O: no second copy of every page, and no write-back of the outer file system between runs.
        return _call(*attach, "--direct-io=on", str(image)).strip(), True
    except subprocess.CalledProcessError:
        return _call(*attach, str(image)).strip(), False


def _unmount(mount: Path) -> None:
    for attempt in range(UNMOUNT_TRIES):
        try:
            _call("umount", str(mount))
            return
        except subprocess.CalledProcessError:
            if attempt == UNMOUNT_TRIES - 1:
                raise
            time.sleep(UNMOUNT_PAUSE_S)


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout
