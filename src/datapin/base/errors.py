"""The tree of errors: yours (usage, settings, refused), the world's (missing, unreachable), damage (wrong bytes).

Each error is a dataclass: its fields say what was seen and expected, `message` names them in one line, `hint` is the
next command to run, `exit_code` is what the command line answers. They pickle, since workers raise them. Any other
exception that reaches a door is our bug.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar

EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_SETUP = 10
EXIT_MISSING = 20
EXIT_DAMAGED = 21
EXIT_UNREACHABLE = 30
EXIT_REFUSED = 40
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

MAX_LISTED = 20


class DatapinError(Exception):
    """Any error that datapin foresees. Subclasses are dataclasses; `message` and `hint` are for people."""

    exit_code: ClassVar[int] = EXIT_BUG

    @property
    def message(self) -> str:
        """One line that names the thing, what was seen and what was expected."""
        return type(self).__name__

    @property
    def hint(self) -> str:
        """The next command to run, or empty."""
        return ""

    @property
    def kind(self) -> str:
        """The error's name in `--json`: `bad-key` for BadKey."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__).lower()

    def details(self) -> dict[str, Any]:
        """The error's own fields, for `--json`."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # subclasses are dataclasses

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle through their args, which dataclass fields never reach.
        return (type(self), tuple(getattr(self, f.name) for f in fields(self)))  # type: ignore[arg-type]


class YourError(DatapinError):
    """Something the user can put right: usage, settings, a refused change."""

    exit_code = EXIT_REFUSED


class WorldError(DatapinError):
    """Something outside: data that is not here, a place that does not answer."""

    exit_code = EXIT_UNREACHABLE


class Damage(DatapinError):
    """Stored bytes that are not what they must be."""

    exit_code = EXIT_DAMAGED


def listed(names: list[str] | tuple[str, ...], most: int = MAX_LISTED) -> str:
    """Names for an error message, cut after `most`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … and {len(names) - most} more"


# --- yours ------------------------------------------------------------------------------------------------------


@dataclass
class Usage(YourError):
    """A wrong argument."""

    what: str
    advice: str = ""
    exit_code = EXIT_USAGE

    @property
    def message(self) -> str:
        return self.what

    @property
    def hint(self) -> str:
        return self.advice


@dataclass
class NoRepository(YourError):
    """Not inside a Git repository with DVC."""

    path: str
    lacks: str  # "Git", "DVC" or "datapin"
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        return f"{self.path} is not inside a repository with {self.lacks}"

    @property
    def hint(self) -> str:
        return {
            "Git": "run `git init && dvc init && datapin init`",
            "DVC": "run `dvc init && datapin init`",
        }.get(self.lacks, "run `datapin init`")


@dataclass
class BadSettings(YourError):
    """A settings or parameters file says something impossible."""

    path: str
    where: str  # dotted name inside the file
    problem: str
    advice: str = ""
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        place = f": {self.where}" if self.where else ""
        return f"{self.path}{place}: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice or f"correct {self.path} and run the command again"


@dataclass
class UnknownDataset(YourError):
    """No dataset of this name."""

    dataset: str
    known: tuple[str, ...] = ()
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        known = f"; known: {listed(self.known)}" if self.known else "; this repository has none yet"
        return f"no dataset {self.dataset!r}{known}"

    @property
    def hint(self) -> str:
        return f"run `datapin add FOLDER --to {self.dataset}` to make it, or `datapin status` to list what is there"


@dataclass
class UnknownVersion(YourError):
    """A selector names a version that does not exist."""

    selector: str
    problem: str
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        return f"{self.selector}: {self.problem}"

    @property
    def hint(self) -> str:
        return "run `git log -- <dataset>.dvc` to see its versions"


@dataclass
class BadAssetId(YourError):
    """Text that is not an asset id."""

    seen: str
    exit_code = EXIT_DAMAGED

    @property
    def message(self) -> str:
        return f"not an asset id: {self.seen!r}, expected 64 lower-case hex digits"

    @property
    def hint(self) -> str:
        return "an asset id is the SHA-256 of the asset's bytes"


@dataclass
class BadKeys(YourError):
    """Keys that would be unsafe or ambiguous as paths."""

    problems: tuple[str, ...]  # each names the key and the rule it breaks
    where: str = ""

    @property
    def message(self) -> str:
        place = f" in {self.where}" if self.where else ""
        return f"{len(self.problems)} bad key(s){place}: {listed(self.problems, 5)}"

    @property
    def hint(self) -> str:
        return "rename these files; keys are safe relative paths, see docs/format.md#keys"


@dataclass
class BadRows(YourError):
    """Rows that break a rule of manifests other than the one for keys."""

    where: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.where}: {self.problem}"

    @property
    def hint(self) -> str:
        return "see docs/format.md#manifests for the columns and their types"


@dataclass
class BadQuery(YourError):
    """SQL that does not run, or that would do more than read rows."""

    sql: str
    problem: str
    exit_code = EXIT_USAGE

    @property
    def message(self) -> str:
        return f"SQL {self.sql!r}: {self.problem}"

    @property
    def hint(self) -> str:
        return "quote text with single quotes; `datapin show DATASET` lists the columns"


@dataclass
class SourcesRefused(YourError):
    """Files that cannot be added; nothing was."""

    problems: tuple[str, ...]  # each names the path and what is wrong with it

    @property
    def message(self) -> str:
        return f"{len(self.problems)} file(s) cannot be added, nothing was changed: {listed(self.problems)}"

    @property
    def hint(self) -> str:
        return "put these right or take them out of the folder, then run the same command again"


@dataclass
class Refused(YourError):
    """A change that would lose or break something."""

    what: str
    advice: str = ""

    @property
    def message(self) -> str:
        return self.what

    @property
    def hint(self) -> str:
        return self.advice


@dataclass
class UnsavedEdits(YourError):
    """Files or rows that were changed and not saved, in the way of a command."""

    where: str
    names: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{self.where}: {len(self.names)} unsaved edit(s) in the way: {listed(self.names, 5)}"

    @property
    def hint(self) -> str:
        return "save them with `datapin add`, or repeat with --force to give them up"


@dataclass
class Locked(YourError):
    """Somebody else holds the lock."""

    what: str
    path: str
    waited_s: float

    @property
    def message(self) -> str:
        return f"{self.what} is in use by another process (waited {self.waited_s:.0f} s for {self.path})"

    @property
    def hint(self) -> str:
        return "run the command again when the other one has finished"


@dataclass
class OperatorRefused(YourError):
    """An operator cannot work with these parameters or this asset."""

    operator: str
    problem: str
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        return f"operator {self.operator}: {self.problem}"

    @property
    def hint(self) -> str:
        return "change the operator's parameters in params.yaml"


@dataclass
class StageRefused(YourError):
    """A stage cannot run on this dataset."""

    stage: str
    problem: str
    advice: str = ""

    @property
    def message(self) -> str:
        return f"stage {self.stage}: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass
class ModelRefused(YourError):
    """A model file that would build objects other than scikit-learn's own."""

    path: str
    types: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{self.path}: holds types that are not trusted: {listed(self.types)}"

    @property
    def hint(self) -> str:
        return "load only models made by `datapin run train`; make this one again with `dvc repro`"


# --- the world's ------------------------------------------------------------------------------------------------


@dataclass
class AssetsMissing(WorldError):
    """Assets that no pack here holds."""

    names: tuple[str, ...]  # keys or asset ids
    count: int
    where: str = "the local store"
    exit_code = EXIT_MISSING

    @property
    def message(self) -> str:
        return f"{self.count} asset(s) are not in {self.where}: {listed(self.names, 5)}"

    @property
    def hint(self) -> str:
        return "run `datapin fetch`"


@dataclass
class ManifestMissing(WorldError):
    """A pinned manifest whose shards are not on this machine."""

    dataset: str
    missing: str
    exit_code = EXIT_MISSING

    @property
    def message(self) -> str:
        return f"{self.dataset}: its manifest is pinned but not here ({self.missing} is missing)"

    @property
    def hint(self) -> str:
        return "run `datapin fetch`, or `dvc pull` and then `datapin fetch`"


@dataclass
class StorageFailed(WorldError):
    """The file system refused to read or write: disk full, read-only, I/O error."""

    action: str
    path: str
    problem: str

    @property
    def message(self) -> str:
        return f"cannot {self.action} {self.path}: {self.problem}"

    @property
    def hint(self) -> str:
        return "nothing half-done was kept; free space or fix permissions, then run the same command again"


@dataclass
class RemoteUnreachable(WorldError):
    """A remote that does not answer or denies access."""

    remote: str
    problem: str
    advice: str = "run `dvc remote list` and check its URL and credentials"

    @property
    def message(self) -> str:
        return f"remote {self.remote}: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass
class ToolFailed(WorldError):
    """Git or DVC ended with an error."""

    tool: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.tool}: {self.problem}"

    @property
    def hint(self) -> str:
        return "run the named tool by hand to see more; `datapin doctor` checks the set-up"


@dataclass
class WorkersLost(WorldError):
    """Worker processes died again and again."""

    attempts: int
    problem: str
    exit_code = EXIT_BUG

    @property
    def message(self) -> str:
        return f"worker processes died {self.attempts} times: {self.problem}"

    @property
    def hint(self) -> str:
        return "often out of memory: repeat with `-j 1` or smaller batches; finished work is kept"


# --- damage -----------------------------------------------------------------------------------------------------


@dataclass
class DamagedAsset(Damage):
    """Bytes that do not hash to their id."""

    asset_id: str
    where: str
    problem: str = "hash mismatch"

    @property
    def message(self) -> str:
        return f"asset {self.asset_id[:12]} is damaged in {self.where}: {self.problem}"

    @property
    def hint(self) -> str:
        return "add the file again with `datapin add` (a good copy heals it), or run `datapin fetch`"


@dataclass
class DamagedPack(Damage):
    """A pack, index or store file that cannot be what its name says."""

    path: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.path} is damaged: {self.problem}"

    @property
    def hint(self) -> str:
        return "run `datapin rebuild-index`, then `datapin doctor` to see which assets are affected"


@dataclass
class DamagedManifest(Damage):
    """A manifest that does not parse, or whose rows break the format."""

    path: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.path} is not a readable manifest: {self.problem}"

    @property
    def hint(self) -> str:
        return "bring it back with `dvc checkout`, or `dvc pull` if the cache lost it"


@dataclass
class DamagedModel(Damage):
    """A model file that cannot be read back."""

    path: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.path} is not a readable model: {self.problem}"

    @property
    def hint(self) -> str:
        return "bring it back with `dvc checkout`, or make it again with `dvc repro`"
