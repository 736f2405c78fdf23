"""Errors of the world outside: data that is not here, a place that does not answer."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from datapin.base.errors.tree import EXIT_BUG, EXIT_MISSING, EXIT_REFUSED, WorldError, listed

LOCAL_STORE = "the local store"


def who_must_push(dataset: str, *, is_output: bool) -> str:
    """What helps where the remote lacks a version of `dataset`; a stage's output can be made again."""
    other = "; or `dvc repro` at its commit makes it again" if is_output else ""
    return f"somebody who has that version must run `datapin push {shlex.quote(dataset)} --all-versions`{other}"


@dataclass
class AssetsMissing(WorldError):
    """Assets that no pack here holds."""

    names: tuple[str, ...]  # keys or asset ids
    count: int
    where: str = LOCAL_STORE
    reason: str = ""  # why they were not fetched
    exit_code = EXIT_MISSING

    @property
    def message(self) -> str:
        reason = f"; {self.reason}" if self.reason else ""
        return f"{self.count} asset(s) are not in {self.where}: {listed(self.names, 5)}{reason}"

    @property
    def hint(self) -> str:
        if self.where != LOCAL_STORE:
            return "somebody who has them must run `datapin push`"
        return "run `datapin fetch`"


@dataclass
class ManifestMissing(WorldError):
    """A pinned manifest whose shards are not on this machine."""

    dataset: str
    missing: str
    reason: str = ""  # why it was not brought
    advice: str = ""  # what helps where fetching did not
    exit_code = EXIT_MISSING
    usual_hint = "run `datapin fetch`, or `dvc pull` and then `datapin fetch`"

    @property
    def message(self) -> str:
        reason = f"; {self.reason}" if self.reason else ""
        return f"{self.dataset}: its manifest is pinned but not here ({self.missing} is missing{reason})"


@dataclass
class SomeLost(WorldError):
    """Several things that a command could not move; it has moved all others."""

    what: str  # "push" or "fetch"
    problems: tuple[str, ...]
    hints: tuple[str, ...]
    exit_code = EXIT_MISSING

    @property
    def message(self) -> str:
        return f"{self.what}: all but {len(self.problems)} done: {'; '.join(self.problems)}"

    @property
    def hint(self) -> str:
        return "; ".join(dict.fromkeys(filter(None, self.hints)))


@dataclass
class OutputMissing(WorldError):
    """The bytes of an output (a model) that a pointer pins are nowhere."""

    path: str
    problem: str
    advice: str = ""
    exit_code = EXIT_MISSING

    @property
    def message(self) -> str:
        return f"{self.path}: what its pointer pins is {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice or f"run `dvc pull {shlex.quote(self.path)}`, or `dvc repro` to make it again"


@dataclass
class StorageFailed(WorldError):
    """The file system refused to read or write: disk full, read-only, I/O error."""

    action: str
    path: str
    problem: str
    usual_hint = "nothing half-done was kept; free space or fix permissions, then run the same command again"

    @property
    def message(self) -> str:
        return f"cannot {self.action} {self.path}: {self.problem}"


@dataclass
class OutputLost(WorldError):
    """What a command had to say could not be written: the disk is full, the terminal is gone."""

    problem: str
    usual_hint = "only words are lost: what the command did stays done; `datapin status` shows where things stand"

    @property
    def message(self) -> str:
        return f"cannot write the output: {self.problem}"


@dataclass
class ObjectMissing(WorldError):
    """A key that a place does not hold."""

    key: str
    where: str
    exit_code = EXIT_MISSING
    usual_hint = "somebody who has the data must run `datapin push`"

    @property
    def message(self) -> str:
        return f"{self.where} has no {self.key}"


@dataclass
class RemoteUnreachable(WorldError):
    """A remote that does not answer or denies access."""

    remote: str
    problem: str
    advice: str = "run `dvc remote list` and check its URL and credentials"

    @property
    def message(self) -> str:
        return f"remote {self.remote}: {self.problem}"


@dataclass
class PushOvertaken(WorldError):
    """A remote whose garbage is collected faster than we can say what we need."""

    remote: str
    tries: int
    exit_code = EXIT_REFUSED
    usual_hint = "when it has ended, run `datapin push` again: nothing was lost, and what was sent is not sent again"

    @property
    def message(self) -> str:
        return f"remote {self.remote}: a collection of garbage removed what this push relies on, {self.tries} times"


@dataclass
class ToolFailed(WorldError):
    """Git or DVC ended with an error."""

    tool: str
    problem: str
    advice: str = ""
    usual_hint = "run the named tool by hand to see more; `datapin doctor` checks the set-up"

    @property
    def message(self) -> str:
        return f"{self.tool}: {self.problem}"


@dataclass
class EngineUnreachable(WorldError):
    """A cluster that does not answer, or has nobody to compute."""

    engine: str
    problem: str
    advice: str = "see to its scheduler and workers, or run it here with `--engine local`"

    @property
    def message(self) -> str:
        return f"engine {self.engine}: {self.problem}"


@dataclass
class WorkersLost(WorldError):
    """Worker processes died again and again."""

    attempts: int
    problem: str
    exit_code = EXIT_BUG
    usual_hint = "often out of memory: repeat with `-j 1` or smaller batches; finished work is kept"

    @property
    def message(self) -> str:
        return f"worker processes died {self.attempts} times: {self.problem}"


def either_side(file: str) -> str:
    """The command that ends a conflict in `file` by taking a side."""
    name = shlex.quote(file)
    return f"`git checkout --ours -- {name} && git add {name}`, or the same with --theirs"
