"""Errors that the user can put right: usage, settings, refused changes."""

from __future__ import annotations

from dataclasses import dataclass

from datapin.base.errors.tree import EXIT_DAMAGED, EXIT_SETUP, EXIT_USAGE, YourError, listed
from datapin.base.errors.unknown_names import advice_on
from datapin.base.placeholders import cures


@dataclass
class Usage(YourError):
    """A wrong argument."""

    what: str
    advice: str = ""
    exit_code = EXIT_USAGE

    @property
    def message(self) -> str:
        return self.what


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
class StoreFormat(YourError):
    """A store in a format that this version does not read."""

    path: str
    seen: str
    expected: int
    exit_code = EXIT_SETUP
    usual_hint = "install the datapin version that wrote it, or a newer one"

    @property
    def message(self) -> str:
        return f"the store {self.path} has format {self.seen}, expected {self.expected}"


@dataclass
class UnknownAsset(YourError):
    """No version in history has this asset, or several assets begin with these digits."""

    digits: str
    candidates: tuple[str, ...] = ()
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        if self.candidates:
            return f"{len(self.candidates)} assets begin with {self.digits}: {listed(self.candidates)}"
        return f"no dataset version in Git's history has an asset {self.digits}"

    @property
    def hint(self) -> str:
        return "give more digits" if self.candidates else "run `datapin ls DATASET` to see ids, or name DATASET:KEY"


@dataclass
class UnknownOutput(YourError):
    """Neither a dataset nor an output of any stage."""

    path: str
    known: tuple[str, ...] = ()
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        known = f"; known: {listed(self.known)}" if self.known else "; no pointer or dvc.lock names any"
        return f"{self.path!r} is neither a dataset nor an output of a stage{known}"

    @property
    def hint(self) -> str:
        otherwise = "run `dvc repro` if its stage never ran, or name a revision that has it: PATH@REV"
        return advice_on(self.path, self.known, otherwise)


@dataclass
class BadAssetId(YourError):
    """Text that is not an asset id."""

    seen: str
    exit_code = EXIT_DAMAGED
    usual_hint = "an asset id is the SHA-256 of the asset's bytes"

    @property
    def message(self) -> str:
        return f"not an asset id: {self.seen!r}, expected 64 lower-case hex digits"


@dataclass
class BadKeys(YourError):
    """Keys that would be unsafe or ambiguous as paths."""

    problems: tuple[str, ...]  # each names the key and the rule it breaks; the first of them
    where: str = ""
    count: int = 0  # of all; 0: `problems` are all
    usual_hint = "rename these files; keys are safe relative paths: `datapin help format#keys`"

    @property
    def message(self) -> str:
        place = f" in {self.where}" if self.where else ""
        count = max(self.count, len(self.problems))
        shown = ", ".join(self.problems[:5])
        more = f", … and {count - 5} more" if count > 5 else ""
        return f"{count} bad key(s){place}: {shown}{more}"


@dataclass
class BadRows(YourError):
    """Rows that break a rule of manifests other than the one for keys."""

    where: str
    problem: str
    advice: str = ""
    usual_hint = "`datapin help format#manifests` shows the columns and their types"

    @property
    def message(self) -> str:
        return f"{self.where}: {self.problem}"


@dataclass
class BadQuery(YourError):
    """SQL that does not run, or that would do more than read rows."""

    sql: str
    problem: str
    exit_code = EXIT_USAGE
    usual_hint = "quote text with single quotes; `datapin show DATASET` lists the columns"

    @property
    def message(self) -> str:
        return f"SQL {self.sql!r}: {self.problem}"


@dataclass
class SourcesRefused(YourError):
    """Files that cannot be added; nothing was."""

    problems: tuple[str, ...]  # each names the path and what is wrong with it

    @property
    def message(self) -> str:
        return f"{len(self.problems)} file(s) cannot be added, nothing was changed: {listed(self.problems)}"

    @property
    def hint(self) -> str:
        ways = cures(self.problems)
        if ways:
            commands = ", ".join(f"`{way}`" for way in ways)
            return f"run {commands} in that folder, then the same command again"
        return "put these right or take them out of the folder, then run the same command again"


@dataclass
class Refused(YourError):
    """A change that would lose or break something."""

    what: str
    advice: str = ""

    @property
    def message(self) -> str:
        return self.what


@dataclass
class UnsavedEdits(YourError):
    """Files or rows that were changed and not saved, in the way of a command."""

    where: str
    names: tuple[str, ...]
    advice: str = ""
    usual_hint = "save them with `datapin add`, or repeat with --force to give them up"

    @property
    def message(self) -> str:
        return f"{self.where}: {len(self.names)} unsaved edit(s) in the way: {listed(self.names, 5)}"


@dataclass
class UnsavedRows(YourError):
    """What a rollback would lose: rows, files or texts of the work tree that nothing keeps."""

    problems: tuple[str, ...]  # each names the thing, what is unsaved, and by which names
    usual_hint = "save them (`datapin add` or `dvc add`, then `git commit`), or repeat with --force, which keeps a copy"

    @property
    def message(self) -> str:
        return f"unsaved edits in the way: {'; '.join(self.problems)}"


@dataclass
class Locked(YourError):
    """Somebody else holds the lock."""

    what: str
    path: str
    waited_s: float
    usual_hint = "run the command again when the other one has finished"

    @property
    def message(self) -> str:
        return f"{self.what} is in use by another process (waited {self.waited_s:.0f} s for {self.path})"


@dataclass
class OperatorRefused(YourError):
    """An operator cannot work with these parameters or this asset."""

    operator: str
    problem: str
    exit_code = EXIT_SETUP
    usual_hint = "change the operator's parameters in params.yaml"

    @property
    def message(self) -> str:
        return f"operator {self.operator}: {self.problem}"


@dataclass
class StageRefused(YourError):
    """A stage cannot run on this dataset."""

    stage: str
    problem: str
    advice: str = ""

    @property
    def message(self) -> str:
        return f"stage {self.stage}: {self.problem}"


@dataclass
class ModelRefused(YourError):
    """A model file that would build objects other than scikit-learn's own."""

    path: str
    types: tuple[str, ...]
    usual_hint = "load only models made by `datapin run train`; make this one again with `dvc repro`"

    @property
    def message(self) -> str:
        return f"{self.path}: holds types that are not trusted: {listed(self.types)}"
