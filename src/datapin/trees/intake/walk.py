"""From source trees to files: what is there, under which key, and everything that cannot be added.

Rules. A key is the path below its source; a source that is a file gives one key, its name. `.git`, `.dvc` and
`.datapin` folders are not entered, and files that belong to Git or DVC (walkers.SKIPPED_FILES) are left out; so is what
systems, viewers and editors leave beside the data (`tool_names`), which is counted. Other hidden files are data. A
symbolic link counts as the file it points to if that file lies below the same source; a link that leads outside,
nowhere, in a circle or to a folder is a problem, since it would add other people's files, or the same ones twice.
Pipes, sockets, devices and unreadable files are problems.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.placeholders import refusal, tool_of_link
from datapin.trees.intake.walkers import RawHarvest, harvest_below, shown_path
from datapin.trees.stat_records import TICK_NS, StatMatrix

_COMPARE_BYTES = 1 << 20


@dataclass(frozen=True)
class FoundFiles:
    """Files below the sources, sorted by the UTF-8 bytes of their keys.

    `stats` is int64 [n, 4]: size, mtime_ns, ctime_ns, inode. A file whose times are not older than `settled_before_ns`
    may change once more without its stats showing it. `problems` names every file that cannot be added, and why.
    """

    keys: pa.StringArray
    stats: StatMatrix
    roots: tuple[str, ...]
    root_numbers: npt.NDArray[np.int32]
    elsewhere: dict[int, str]  # row to path, for links and single-file sources
    problems: list[str]
    settled_before_ns: int
    left_out: Counter[str] = field(default_factory=Counter)  # names of tools' files, and folders (with a slash behind)

    def __len__(self) -> int:
        return len(self.keys)

    def paths(self) -> list[str]:
        """The file to open for each row; 110 bytes each, so it is made anew and not kept."""
        if len(self.roots) == 1:
            paths = pc.binary_join_element_wise(pa.scalar(self.roots[0]), self.keys, "").to_pylist()
        else:
            roots = pa.array(self.roots, pa.string()).take(pa.array(self.root_numbers))
            paths = pc.binary_join_element_wise(roots, self.keys, "").to_pylist()
        for row, path in self.elsewhere.items():
            paths[row] = path
        return paths  # type: ignore[no-any-return]


@dataclass(slots=True)
class _Part:
    """The files of one source."""

    root: str
    keys: pa.StringArray
    stats: StatMatrix
    elsewhere: dict[str, str]
    problems: list[str]
    devices: frozenset[int]
    left_out: Counter[str] = field(default_factory=Counter)


def walk(sources: Sequence[Path], *, exclude: Sequence[Path] = ()) -> FoundFiles:
    """Every file below `sources`; folders in `exclude` are not entered. Never raises for what it finds."""
    skip = _identities(exclude)
    started_ns = time.time_ns()
    parts = [_part(Path(source), skip) for source in sources]
    problems = [problem for part in parts for problem in part.problems]
    keys = pa.concat_arrays([part.keys for part in parts]) if parts else pa.array([], pa.string())
    stats = np.concatenate([part.stats for part in parts]) if parts else np.empty((0, 4), np.int64)
    root_numbers = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.keys) for part in parts])
    order = _order(keys)
    if order is not None:
        keys, stats, root_numbers = keys.take(pa.array(order)), stats[order], root_numbers[order]
    elsewhere = _rows_elsewhere(parts, keys, root_numbers)
    found = FoundFiles(
        keys=keys,
        stats=stats,
        roots=tuple(part.root for part in parts),
        root_numbers=root_numbers,
        elsewhere=elsewhere,
        problems=problems,
        settled_before_ns=started_ns - clock_margin_ns(frozenset().union(*(part.devices for part in parts))),
        left_out=sum((part.left_out for part in parts), Counter()),
    )
    return _without_twins(found) if len(parts) > 1 else found


def leave_out(found: FoundFiles, keys: Collection[str]) -> FoundFiles:
    """The files without those of `keys` that lie in a source folder; a file that was named as a source stays."""
    if not keys:
        return found
    is_meant = pc.is_in(found.keys, value_set=pa.array(sorted(keys), pa.string())).to_numpy(zero_copy_only=False)
    in_folder = np.array([bool(root) for root in found.roots], np.bool_)[found.root_numbers]
    keep = ~(is_meant & in_folder)
    return found if keep.all() else _kept(found, np.flatnonzero(keep), found.problems)


def _part(source: Path, skip: frozenset[tuple[int, int]]) -> _Part:
    try:
        seen = source.stat()
    except OSError as error:
        return _problem_part(f"{shown_path(os.fsencode(source))}: {error.strerror}")
    if stat.S_ISDIR(seen.st_mode):
        # The source itself may be a link: its name was given by the user.
        root = os.fsencode(source)
        return _folder_part(root, harvest_below(root, skip=skip))
    shown = shown_path(os.fsencode(source))
    if not stat.S_ISREG(seen.st_mode):
        return _problem_part(f"{shown} is not a file or folder")
    if not os.access(source, os.R_OK):
        return _problem_part(f"{shown} cannot be read: Permission denied")
    try:
        keys = pa.array([source.name], pa.string())
    except UnicodeEncodeError:
        return _problem_part(f"{shown}: its name is not UTF-8")
    path = os.path.realpath(source)
    return _Part("", keys, _stat_row(seen), {source.name: path}, [], frozenset({seen.st_dev}))


def _problem_part(problem: str) -> _Part:
    nothing = np.empty((0, 4), np.int64)
    return _Part("", pa.array([], pa.string()), nothing, {}, [problem], frozenset())


def _folder_part(root: bytes, harvests: list[RawHarvest]) -> _Part:
    problems = [problem.decode() for harvest in harvests for problem in harvest.problems]
    keys, stats = _assembled(harvests)
    elsewhere: dict[str, str] = {}
    links = sorted(link for harvest in harvests for link in harvest.links)
    if links:
        link_keys, link_stats = _followed(root, links, elsewhere, problems)
        keys = pa.concat_arrays([keys, pa.array(link_keys, pa.binary())])
        stats = np.concatenate([stats, *link_stats])
    text = _as_text(keys)
    if text is None:
        good = np.array([_is_utf8(key) for key in keys.to_pylist()], np.bool_)
        for key in keys.filter(pa.array(~good)).to_pylist():
            problems.append(f"{shown_path(os.path.join(root, key))}: its name is not UTF-8")
        keys, stats = keys.filter(pa.array(good)), stats[good]
        text = _as_text(keys)
    assert text is not None
    shown_root = os.fsdecode(root).rstrip("/") + "/"
    devices = frozenset().union(*(harvest.devices for harvest in harvests))
    left_out: Counter[str] = Counter()
    for harvest in harvests:
        left_out.update({shown_path(name): count for name, count in harvest.left_out.items()})
    return _Part(shown_root, text, stats, elsewhere, sorted(problems), devices, left_out)


def _assembled(harvests: list[RawHarvest]) -> tuple[pa.Array, StatMatrix]:
    """Keys (bytes) and stats of all harvests, segments in the order of their first keys."""
    lengths = np.frombuffer(b"".join(harvest.key_lengths for harvest in harvests), np.uint32)
    blob = b"".join(harvest.keys for harvest in harvests)
    stats = np.frombuffer(b"".join(harvest.stats for harvest in harvests), np.int64).reshape(-1, 4)
    ends = np.cumsum(lengths, dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), ends])
    keys = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(blob)]
    ).cast(pa.binary())
    first_keys = [key for harvest in harvests for key in harvest.segment_keys]
    counts = np.frombuffer(b"".join(harvest.segment_counts for harvest in harvests), np.uint64).astype(np.int64)
    by_key = sorted(range(len(first_keys)), key=first_keys.__getitem__)
    if by_key == list(range(len(first_keys))):
        return keys, stats
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)[:-1]])
    chosen = np.array(by_key, np.int64)
    # Row numbers of segment after segment: each segment's start minus where it lands, plus a running count.
    lands = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[chosen])[:-1]])
    order = np.repeat(starts[chosen] - lands, counts[chosen]) + np.arange(len(lengths))
    return keys.take(pa.array(order)), stats[order]


def _as_text(keys: pa.Array) -> pa.StringArray | None:
    """`keys` as strings, or None if one is not UTF-8."""
    try:
        return keys.cast(pa.string())
    except pa.ArrowInvalid:
        return None


def _is_utf8(key: bytes) -> bool:
    try:
        key.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _order(keys: pa.StringArray) -> npt.NDArray[np.int64] | None:
    """The order that sorts `keys`, None if they are sorted."""
    if len(keys) < 2 or pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py():
        return None
    return np.asarray(pc.sort_indices(keys).to_numpy(), dtype=np.int64)


def _followed(
    root: bytes, links: list[bytes], elsewhere: dict[str, str], problems: list[str]
) -> tuple[list[bytes], list[StatMatrix]]:
    """Keys and stats of the links that lead to a file below `root`; all others become problems."""
    keys, stats = [], []
    real_root = os.path.realpath(root)
    for key in links:
        path = os.path.join(root, key)
        shown = shown_path(path)
        try:
            target = os.path.realpath(path, strict=True)
            seen = os.lstat(target)
        except FileNotFoundError:
            tool = tool_of_link(os.fsdecode(os.readlink(path)))
            problems.append(f"{shown} {'is a link that leads nowhere' if tool is None else refusal(tool)}")
            continue
        except OSError as error:
            problems.append(f"{shown} is a link that cannot be followed: {error.strerror}")
            continue
        inside = target.startswith(real_root.rstrip(b"/") + b"/")
        if not inside:
            problems.append(f"{shown} is a link that leads out of the folder, to {shown_path(target)}")
        elif stat.S_ISDIR(seen.st_mode):
            problems.append(f"{shown} is a link to a folder")
        elif not stat.S_ISREG(seen.st_mode):
            problems.append(f"{shown} is a link to something that is not a file")
        elif not os.access(target, os.R_OK):
            problems.append(f"{shown} cannot be read: Permission denied")
        else:
            keys.append(key)
            stats.append(_stat_row(seen))
            if _is_utf8(key):
                elsewhere[key.decode("utf-8")] = os.fsdecode(target)
    return keys, stats


def _stat_row(seen: os.stat_result) -> StatMatrix:
    return np.array([[seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]], np.int64)


def _rows_elsewhere(parts: list[_Part], keys: pa.StringArray, root_numbers: npt.NDArray[np.int32]) -> dict[int, str]:
    rows: dict[int, str] = {}
    if not any(part.elsewhere for part in parts):
        return rows
    for number, part in enumerate(parts):
        if part.elsewhere:
            theirs = pc.is_in(keys, value_set=pa.array(list(part.elsewhere), pa.string())).to_numpy(
                zero_copy_only=False
            )
            for row in np.flatnonzero(theirs & (root_numbers == number)).tolist():
                rows[row] = part.elsewhere[keys[row].as_py()]
    return rows


def _without_twins(found: FoundFiles) -> FoundFiles:
    """Of files with one key in several sources the first stays, if all hold the same bytes; else that is a problem."""
    if len(found.keys) < 2:
        return found
    same_as_before = np.concatenate([[False], pc.equal(found.keys[:-1], found.keys[1:]).to_numpy(zero_copy_only=False)])
    if not same_as_before.any():
        return found
    paths, problems = found.paths(), list(found.problems)
    for row in np.flatnonzero(same_as_before).tolist():
        if not _same_bytes(paths[row - 1], paths[row]):
            a, b = (shown_path(os.fsencode(path)) for path in (paths[row - 1], paths[row]))
            problems.append(f"{a} and {b} differ, but would both be row {found.keys[row].as_py()}")
    return _kept(found, np.flatnonzero(~same_as_before), problems)


def _kept(found: FoundFiles, keep: npt.NDArray[np.int64], problems: list[str]) -> FoundFiles:
    """The rows `keep` (ascending) of the files."""
    new_row = {int(old): new for new, old in enumerate(keep)} if found.elsewhere else {}
    return FoundFiles(
        keys=found.keys.take(pa.array(keep)),
        stats=found.stats[keep],
        roots=found.roots,
        root_numbers=found.root_numbers[keep],
        elsewhere={new_row[row]: path for row, path in found.elsewhere.items() if row in new_row},
        problems=problems,
        settled_before_ns=found.settled_before_ns,
        left_out=found.left_out,
    )


def _same_bytes(a: str, b: str) -> bool:
    try:
        with open(a, "rb") as first, open(b, "rb") as second:
            if os.path.sameopenfile(first.fileno(), second.fileno()):
                return True
            while True:
                one, two = first.read(_COMPARE_BYTES), second.read(_COMPARE_BYTES)
                if one != two:
                    return False
                if not one:
                    return True
    except OSError:
        return False


def _identities(folders: Iterable[Path]) -> frozenset[tuple[int, int]]:
    """Device and inode of each folder that is there."""
    found = set()
    for folder in folders:
        with suppress(OSError):
            seen = folder.stat()
            found.add((seen.st_dev, seen.st_ino))
    return frozenset(found)


# How far a file system's clock may lag behind this machine's.


_FOREIGN_CLOCK_NS = 10_000_000_000
_MOUNTS = Path("/proc/self/mountinfo")
_LOCAL_KINDS = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs", "tmpfs", "xfs", "zfs"}
)


def clock_margin_ns(devices: Set[int]) -> int:
    """How much older than "now" a file on these devices must be before its times tell it apart from a later edit.

    A network file system stamps files by its server's clock, which may run behind: ten seconds are granted there, and
    on any device that is not known to be local. Without a mount table (macOS) all devices count as local.
    """
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return TICK_NS
    kinds = {}
    for line in lines:
        mount, _, source = line.partition(" - ")
        fields, kind = mount.split(), source.split(" ", 1)[0]
        if len(fields) > 2:
            kinds[fields[2]] = kind
    local = all(kinds.get(f"{os.major(device)}:{os.minor(device)}") in _LOCAL_KINDS for device in devices)
    return TICK_NS if local else _FOREIGN_CLOCK_NS
