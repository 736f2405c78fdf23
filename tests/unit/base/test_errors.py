from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from datapin.base import errors


def leaves() -> list[type[errors.DatapinError]]:
    found: list[type[errors.DatapinError]] = []
    queue = list(errors.DatapinError.__subclasses__())
    while queue:
        kind = queue.pop()
        queue += kind.__subclasses__()
        if dataclasses.is_dataclass(kind):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def example(kind: type[errors.DatapinError]) -> errors.DatapinError:
    values: dict[str, Any] = {"str": "thing", "int": 3, "float": 1.5, "bool": True, "tuple[str, ...]": ("a", "b")}
    assert dataclasses.is_dataclass(kind)
    return kind(**{f.name: values[str(f.type)] for f in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_every_error_pickles_and_says_one_line_with_a_hint(kind: type[errors.DatapinError]) -> None:
    error = example(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.details() == error.details()
    assert again.message == error.message == str(error)
    assert error.message
    assert "\n" not in error.message
    assert error.hint
    assert error.exit_code in {2, 10, 20, 21, 30, 40, 70}


def test_a_kind_is_the_name_in_small_letters() -> None:
    assert errors.BadKeys(problems=("x",)).kind == "bad-keys"


def test_long_lists_are_cut_and_counted() -> None:
    assert errors.listed([str(i) for i in range(30)], 2) == "0, 1, … and 28 more"
