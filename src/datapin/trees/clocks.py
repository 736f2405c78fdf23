"""How far a file system's clock may lag behind this machine's."""

from __future__ import annotations

import os
from collections.abc import Set
from pathlib import Path

_TICK_NS = 50_000_000  # kernels stamp files with a clock that moves every 1 to 10 ms
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
        return _TICK_NS
    kinds = {}
    for line in lines:
        mount, _, source = line.partition(" - ")
        fields, kind = mount.split(), source.split(" ", 1)[0]
        if len(fields) > 2:
            kinds[fields[2]] = kind
    local = all(kinds.get(f"{os.major(device)}:{os.minor(device)}") in _LOCAL_KINDS for device in devices)
    return _TICK_NS if local else _FOREIGN_CLOCK_NS
