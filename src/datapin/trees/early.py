"""A look at the files that a checkout wrote, begun before the heavy imports, in children that only make system calls.

`rollback` takes 0.4 s to come to the folder that follows its dataset, and `lstat` of 100,000 files there 0.3 s: both
run at the same time, and what is left then is shared. Free of NumPy and Arrow.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
from array import array
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from datapin.trees.forks import core_count, fork_quietly
from datapin.trees.places import records_path
from datapin.trees.safe_tree import Obstructed, SafeTree
from datapin.trees.stat_layout import StatHeading, StatRange, read_heading, read_range

_FROM_FILES = 3000  # below this a fork (2-5 ms) costs more than it saves
_FILES_OF_A_CHILD = 50_000
_MOST_CHILDREN = 4
_BLOCK_FILES = 256
_REACHED, _END, _WORDS = 0, 1, 2  # of the words that a child and its parent share: how far it is, where it ends


@dataclass(frozen=True, slots=True)
class _Child:
    """A child that looks at the records from `first` to before `last`, or to where the shared word says."""

    process: int
    first: int
    last: int


class StartedLook:
    """Children that look at the files of the records with this `checksum`: `take_share` once, then `wait` once."""

    def __init__(self, target: str, checksum: bytes, count: int, shares: int) -> None:
        self.target = target
        self.checksum = checksum
        self.count = count
        self._shared = mmap.mmap(-1, shares * _WORDS * array("q").itemsize + count)
        view = memoryview(self._shared)
        head = len(view) - count
        self._words, self._flags = view[:head].cast("q"), view[head:]
        self._children: list[_Child] = []

    def start(self, path: Path, heading: StatHeading, first: int, last: int) -> None:
        """Fork a child for the records from `first` to before `last` of the file `path`, which has this heading."""
        words = self._words[len(self._children) * _WORDS :][:_WORDS]
        words[_REACHED], words[_END] = first, last
        child = fork_quietly()
        if child == 0:
            code = 1
            try:
                gc.disable()
                recorded = read_range(path, heading, first, last)
                if recorded is not None:
                    _look(self.target, recorded, first, words, self._flags)
                    code = 0
            finally:
                os._exit(code)
        self._children.append(_Child(child, first, last))

    def take_share(self) -> list[tuple[int, int]]:
        """Ranges of records that the children will leave to the caller, who has nothing else to do by now."""
        taken = []
        for number, child in enumerate(self._children):
            words = self._words[number * _WORDS :][:_WORDS]
            left = child.last - words[_REACHED]
            words[_END] = child.last - left // (len(self._children) + 1)
            taken.append((words[_END], child.last))
        return taken

    def wait(self) -> bytes | None:
        """For each record 1 if its file had the stat in it when it was looked at, some time after the start.

        None if a child died.
        """
        ended = [os.waitpid(child.process, 0)[1] for child in self._children]
        self._children.clear()
        return None if any(ended) else bytes(self._flags)

    def close(self) -> None:
        """Give the look up, if it is still under way."""
        for child in self._children:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child.process, signal.SIGKILL)
                os.waitpid(child.process, 0)
        self._children.clear()


def start_look(state: Path, target: str) -> StartedLook | None:
    """Begin to look at what checkouts noted that they wrote into `target`; None if that is too little."""
    path = records_path(state, Path(target))
    heading = read_heading(path)
    if heading is None or heading.count < _FROM_FILES:
        return None
    # This process has work for one core.
    most = min(max(core_count() - 1, 1), _MOST_CHILDREN)
    shares = min(most, -(-heading.count // _FILES_OF_A_CHILD))
    look = StartedLook(target, heading.checksum, heading.count, shares)
    try:
        for first, last in pairwise(heading.count * number // shares for number in range(shares + 1)):
            look.start(path, heading, first, last)
    except OSError:  # there are too many processes: the survey will look, alone
        look.close()
        return None
    return look


def _look(target: str, recorded: StatRange, first: int, words: memoryview, flags: memoryview) -> None:
    """Set the flags of these records, of which `first` is the first, to where `words` say, which may change meanwhile.

    One loop, and names as slices of one text: calls and decoded keys would cost half as much as the system calls.
    """
    keys, stats, start, lstat = recorded.keys, recorded.stats, 0, os.lstat
    ends = (end - recorded.start for end in recorded.ends)
    expected = zip(ends, stats[0::4], stats[1::4], stats[2::4], stats[3::4], strict=True)
    prefix = b""
    with closing(SafeTree(Path(target))) as tree:
        place = tree.enter("", create=False)
        for number, (end, size, mtime_ns, ctime_ns, inode) in enumerate(expected, first):
            if number % _BLOCK_FILES == 0:
                words[_REACHED] = number
                if number >= words[_END]:
                    return
            cut = keys.rfind(b"/", start, end) + 1 or start
            if cut - start != len(prefix) or not keys.startswith(prefix, start):
                prefix = keys[start:cut]
                place = _entered(tree, prefix[:-1].decode("utf-8"))
            name, start = keys[cut:end], end
            if place is not None:
                try:
                    seen = lstat(name, dir_fd=place)
                except OSError:
                    continue  # the survey will look again, and say what it is
                if (
                    seen.st_ino == inode
                    and seen.st_ctime_ns == ctime_ns
                    and seen.st_mtime_ns == mtime_ns
                    and seen.st_size == size
                ):
                    flags[number] = 1


def _entered(tree: SafeTree, folder: str) -> int | None:
    with suppress(Obstructed, OSError):
        return tree.enter(folder, create=False)
    return None
