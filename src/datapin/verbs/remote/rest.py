"""What could not be done of many things: the rest is done first, then it is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from datapin.base.errors import (
    AssetsMissing,
    BadKeys,
    BadRows,
    BadSettings,
    Damage,
    DatapinError,
    ManifestMissing,
    ObjectMissing,
    Refused,
    SomeLost,
)

# What is wrong with one thing, and not with the place where all lie.
_OF_ONE = (AssetsMissing, BadKeys, BadRows, BadSettings, Damage, ManifestMissing, ObjectMissing, Refused)


class Failures:
    """The errors of single datasets and versions, gathered while the others go on."""

    def __init__(self, what: Literal["push", "fetch"]) -> None:
        self._what = what
        self.errors: list[DatapinError] = []

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Keep an error of what is done inside for the end."""
        try:
            yield
        except _OF_ONE as error:
            self.errors.append(error)

    def check(self) -> None:
        """Raise what was gathered: the error itself if it is one, else SomeLost."""
        errors = list({error.message: error for error in self.errors}.values())
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise SomeLost(self._what, tuple(error.message for error in errors), tuple(error.hint for error in errors))
