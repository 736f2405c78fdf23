"""Errors of names that fit nothing: of a dataset, of a version, of a row."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from datapin.base.errors.tree import EXIT_SETUP, YourError, listed


def advice_on(name: str, known: Sequence[str], otherwise: str) -> str:
    """What to say of a name that is none of the known ones: which one may be meant, else `otherwise`."""
    import difflib  # 1 ms, where a command takes 100 ms to start

    for part_of in (name.removesuffix(".dvc"), name.rpartition("/")[0]):
        if part_of in known:
            return f"name the dataset itself: {shlex.quote(part_of)}"
    similar = [one for one in known if one.endswith(f"/{name}")] or difflib.get_close_matches(name, known)
    return f"did you mean {' or '.join(map(shlex.quote, similar))}? if not, {otherwise}" if similar else otherwise


@dataclass
class UnknownDataset(YourError):
    """No dataset of this name."""

    dataset: str
    known: tuple[str, ...] = ()
    problem: str = ""  # what is there instead, if something is
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        known = f"; known: {listed(self.known)}" if self.known else "; this repository has none yet"
        return (
            f"{self.dataset!r} is not a dataset: {self.problem}{known}"
            if self.problem
            else f"no dataset {self.dataset!r}{known}"
        )

    @property
    def hint(self) -> str:
        otherwise = "run `datapin status` to list the datasets, `datapin add FOLDER --to data/NAME` to make one"
        if not self.problem:
            name = shlex.quote(self.dataset)
            otherwise = f"run `datapin add FOLDER --to {name}` to make it, or `datapin status` to list what is there"
        return advice_on(self.dataset, self.known, otherwise)


@dataclass
class UnknownVersion(YourError):
    """A selector names a version that does not exist."""

    selector: str
    problem: str
    candidates: tuple[str, ...] = ()  # what could have been meant
    is_shallow: bool = False  # history ends early: an older version may only not be here
    advice: str = ""
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        meant = f"; there are: {listed(self.candidates)}" if self.candidates else ""
        return f"{self.selector}: {self.problem}{meant}"

    @property
    def hint(self) -> str:
        if self.advice:
            return self.advice
        dataset, at, _ = self.selector.partition("@")
        log = f"run `datapin log {shlex.quote(dataset) if at else 'DATASET'}` to see its versions"
        return (
            f"{log}; this clone is shallow: `git fetch --unshallow --tags` brings older ones"
            if self.is_shallow
            else log
        )


@dataclass
class DatasetNotThere(UnknownVersion):
    """The version is one that Git knows, and the dataset is not in it."""


@dataclass
class AmbiguousVersion(UnknownVersion):
    """A selector that names more than one version."""

    @property
    def message(self) -> str:
        return f"{self.selector}: {self.problem}: {listed(self.candidates)}"

    @property
    def hint(self) -> str:
        return "write more digits, or `sha256:` before a digest"


@dataclass
class UnknownKey(YourError):
    """No row of this key in any version that was looked at."""

    dataset: str
    key: str
    candidates: tuple[str, ...] = ()
    exit_code = EXIT_SETUP

    @property
    def message(self) -> str:
        meant = f"; there are: {listed(self.candidates)}" if self.candidates else ""
        return f"{self.dataset}: no version has a row {self.key!r}{meant}"

    @property
    def hint(self) -> str:
        return f"run `datapin ls {shlex.quote(self.dataset)} --columns key` to list the keys"
