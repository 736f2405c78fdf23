"""Run a command and say how long it took until its bytes were durable, and how much memory its processes held."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = Sequence[str]

POLL_S = 0.02
TIMEOUT_S = 1_800.0
_LIBC = ctypes.CDLL(None, use_errno=True)


class RunFailed(Exception):
    """A command did not do its work; the message is what it said last."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One step. `durable_s` is what compares: tools that fsync themselves leave less to the sync that follows."""

    wall_s: float
    sync_s: float
    largest_rss_bytes: int  # of the largest single process, from wait4; never less than the harness itself (~30 MB)
    tree_pss_bytes: int | None  # peak of the sum over all processes of the step; None: not watched

    @property
    def durable_s(self) -> float:
        """Wall time plus the sync right after."""
        return self.wall_s + self.sync_s

    @property
    def peak_bytes(self) -> int:
        """Best known peak: the watched sum, or the largest process if nothing was watched."""
        return self.tree_pss_bytes or self.largest_rss_bytes


def time_commands(
    commands: Sequence[Command],
    folder: Path,
    environment: Mapping[str, str],
    *,
    watch_memory: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> Timing:
    """Run `commands` one after the other in `folder`, then sync its file system. Raises RunFailed.

    Watching memory reads /proc every 20 ms, which costs a few per cent of a core: timings are taken without it.
    """
    wall_s, rss, pss = 0.0, 0, 0
    for command in commands:
        took_s, largest, summed, _ = _run(command, folder, environment, watch_memory, timeout_s)
        wall_s, rss, pss = wall_s + took_s, max(rss, largest), max(pss, summed)
    began = time.perf_counter()
    sync_file_system(folder)
    return Timing(wall_s, time.perf_counter() - began, rss, pss if watch_memory else None)


def run_quietly(command: Command, folder: Path, environment: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> str:
    """Run one untimed command and return its standard output. Raises RunFailed."""
    return _run(command, folder, environment, False, timeout_s)[3]


def sync_file_system(folder: Path) -> None:
    """Flush the file system of `folder` alone: other work on this machine is not charged to the run."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _LIBC.syncfs(handle) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(folder))
    finally:
        os.close(handle)


def read_all(root: Path) -> int:
    """Read every file below `root` once, so that it is in the page cache. Returns the bytes."""
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            handle = os.open(os.path.join(folder, name), os.O_RDONLY)
            try:
                while chunk := os.read(handle, 1 << 20):
                    total += len(chunk)
            finally:
                os.close(handle)
    return total


def _run(
    command: Command, folder: Path, environment: Mapping[str, str], watch_memory: bool, timeout_s: float
) -> tuple[float, int, int, str]:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        began = time.perf_counter()
        try:
            child = subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaints,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise RunFailed(f"{command[0]} is not installed") from None
        watch = _MemoryWatch(child.pid) if watch_memory else None
        expired = threading.Event()
        timer = threading.Timer(timeout_s, _expire, (child.pid, expired))
        timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            _end_session(child.pid)
            raise
        finally:
            took_s = time.perf_counter() - began
            timer.cancel()
            summed = watch.stop() if watch else 0
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
        if child.returncode != 0:
            complaints.seek(0)
            said = _last_line(complaints.read().decode("utf-8", "replace")) or _last_line(text)
            ended = f"ended after {timeout_s:.0f} s" if expired.is_set() else f"exit {child.returncode}"
            raise RunFailed(f"{Path(command[0]).name} {' '.join(command[1:4])}: {ended}: {said}")
    return took_s, usage.ru_maxrss * 1024, summed, text


def _last_line(text: str) -> str:
    """The last line that says something: of a traceback the error, of an error with a hint the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "fatal"))]
    return (errors or lines or [""])[-1][:300]


def _expire(leader: int, expired: threading.Event) -> None:
    expired.set()  # first: the command's end is noticed before this thread's
    _end_session(leader)


def _end_session(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


class _MemoryWatch:
    """Sums the proportional set size of a session's processes; the kernel splits shared pages between their users."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._done.wait(POLL_S):
            self._peak = max(self._peak, sum(_pss_bytes(pid) for pid in _session_members(self._session)))


def _session_members(session: int) -> list[int]:
    members = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            members.append(int(name))
    return members


def _pss_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # it ended while we looked
    return 0
