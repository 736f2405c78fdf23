"""`dvc repro --force --no-run-cache` in a clean clone, in surroundings on which no result may depend."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from datapin.base.processes import module_words
from datapin.base.progress import Bar, Progress
from datapin.checks.repro.clone import CleanClone
from datapin.checks.repro.outputs import PinnedOutputs
from datapin.pins.files import beside
from datapin.pipeline.mapping.engines.local import THREAD_LIMITS

_RUNNING = re.compile(r"Running stage '([^']+)':\Z")
_FAILED = re.compile(r"ERROR: failed to reproduce (?:stages: )?(.+?)(?:: (.+))?\Z")
_QUOTED = re.compile(r"'([^']+)'")
_TIME_ZONES = ("NPT-5:45", "NST3:30")  # POSIX spells out the offset, with the sign turned: no table of zones is needed
_LAST_LINES = 6
_KEPT_LINES = 200
_GRACE_S = 5.0


@dataclass(slots=True)
class Rerun:
    """What came of it: the stages that failed, by address, with the last lines of each, and what surrounded them."""

    surroundings: str
    failed: dict[str, str] = field(default_factory=dict)
    problem: str = ""  # what DVC said, if it failed for another reason than a stage


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rerun has otherwise than the user's shell."""

    variables: dict[str, str]
    jobs: int

    @property
    def text(self) -> str:
        """For people."""
        names = ("PYTHONHASHSEED", "TZ", "LC_ALL")
        threads = self.variables[THREAD_LIMITS[0]]
        named = ", ".join(f"{name}={self.variables[name]}" for name in names)
        return f"{named}, {threads} thread(s) and {self.jobs} worker(s) in a folder of another name"


def other_surroundings(environment: Mapping[str, str], commit: str, jobs: int) -> Surroundings:
    """Hash seed, time zone, locale and number of threads unlike those of `environment`; the same for each commit."""
    threads = environment.get("OMP_NUM_THREADS", "")
    cores = os.cpu_count() or 1
    usual = int(threads) if threads.isdigit() and int(threads) else cores
    # One less, not one: a training on many cores must not take a day. And not as many as there are cores: where the
    # variable is set only here, that is what the recorded results were computed with.
    fewer = usual - 1
    other = str(fewer if fewer and fewer != cores else next(n for n in (1, 2, 3) if n not in (usual, cores)))
    locale = next((environment[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)), "C")
    is_plain = locale.split(".")[0] in ("C", "POSIX") and "utf" not in locale.lower()
    seed = str(int(hashlib.sha256(commit.encode()).hexdigest()[:7], 16) + 1)
    return Surroundings(
        {
            "PYTHONHASHSEED": seed,
            "TZ": next(zone for zone in _TIME_ZONES if zone != environment.get("TZ")),
            "LC_ALL": "C.UTF-8" if is_plain else "C",
            "PYTHON_CPU_COUNT": other,
            **dict.fromkeys(THREAD_LIMITS, other),
        },
        jobs,
    )


def rerun(clone: CleanClone, pinned: PinnedOutputs) -> Rerun:
    """Run every pinned stage again."""
    around = other_surroundings(clone.environment, pinned.commit, clone.jobs)
    environment = {**clone.environment, **around.variables, "PYTHONUNBUFFERED": "1"}
    # What DVC and the stages call must be found, but whatever the user's PATH names comes first.
    environment["PATH"] = os.pathsep.join([environment.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    pipelines = [beside(file) for file in pinned.lock_files]
    options = ("--force", "--no-run-cache", "--no-commit", "--keep-going")
    words = module_words("dvc", "repro", *options, *pipelines)
    result = Rerun(around.text)
    said = _Said()
    code = _follow(words, clone.root, environment, said, pinned)
    if code:
        result.failed = {name: said.last_of(name) for name in said.failed}
        if not result.failed:
            result.problem = said.last_of("") or f"`dvc repro` ended with {code}"
    return result


class _Said:
    """What DVC and the stages print, by stage; before the first one it is DVC's own."""

    def __init__(self) -> None:
        self.stage = ""
        self.failed: list[str] = []
        self._lines: dict[str, list[str]] = {"": []}

    def take(self, line: str) -> bool:
        """One line; whether it begins a stage."""
        begins, failed = _RUNNING.match(line), _FAILED.match(line)
        if begins:
            self.stage = begins[1]
            self._lines.setdefault(self.stage, [])
        elif failed:
            self.failed = _QUOTED.findall(failed[1])
            self._keep("", failed[2] or line)
        elif line.strip() and not line.startswith("> "):
            self._keep("" if line.startswith(("WARNING: dependency ", "WARNING: Stage ")) else self.stage, line)
        return bool(begins)

    def last_of(self, stage: str) -> str:
        """The last lines that a stage said, or what DVC said of it."""
        lines = self._lines.get(stage) or self._lines[""]
        return " | ".join(line.strip() for line in lines[-_LAST_LINES:])

    def _keep(self, stage: str, line: str) -> None:
        lines = self._lines[stage]
        lines.append(line)
        del lines[:-_KEPT_LINES]


def _follow(words: list[str], root: Path, environment: dict[str, str], said: _Said, pinned: PinnedOutputs) -> int:
    progress: Progress = pinned.subject.progress
    stages = sum(not pinned.is_frozen(stage) for stage in pinned.stages)
    process = subprocess.Popen(
        words,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for us: we end the stages, then remove the clone
    )
    with process, progress.bar("running the pipeline again", stages, "stage") as bar:
        # A thread of its own: something that a stage left in the background may hold the pipe open for ever.
        listening = Thread(target=_listen, args=(process, said, bar), daemon=True)
        listening.start()
        try:
            return process.wait()
        finally:
            _end(process)
            listening.join(_GRACE_S)


def _listen(process: subprocess.Popen[bytes], said: _Said, bar: Bar) -> None:
    assert process.stdout is not None
    with suppress(ValueError):  # closed under our hands
        for raw in process.stdout:
            if said.take(raw.decode("utf-8", "replace").rstrip()):
                bar.advance()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever still runs in the process's session, gently first: stages take their workers with them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
