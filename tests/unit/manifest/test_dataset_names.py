"""Names that a new dataset may have: safe on every file system, and nothing else to Git, DVC, selectors or shells."""

from __future__ import annotations

import pytest

from datapin.base.errors import BadKeys
from datapin.manifest.columns.keys import MAX_PROBLEMS, check_keys
from datapin.manifest.dataset_names import MAX_PART_BYTES, dataset_problem, folded_name
from datapin.testing.hostile_keys import HOSTILE_KEYS

_RESERVED = ["data/new.dvc", "a.DVC/raw", "data/dvc.yaml", "DVC.lock", "data/.dvcignore", ".dvc/x", "x/.Datapin/y"]
_GIT = ["data/.gitignore", ".git", "x/.GIT/y", "git~1", "x/.g\u200cit"]
_SIGNS = ["data/raw@v1", "data/raw:a", "C:/data", "s3://bucket/raw", "a*", "a?", 'a"b', "a<b", "a|b", "data/${x}"]
_SPACES = ["data/raw ", "data /raw", " data", "data/raw.", "data/\u2003raw", "data/raw\u00a0"]
_OTHERS = [
    "-raw",
    "data/-raw",
    "data\\raw",
    "data\nraw",
    "data/e\u0301",
    "aux",
    "data/NUL.x",
    "a//b",
    "/data",
    "../x",
    "",
]


@pytest.mark.parametrize("name", [*_RESERVED, *_GIT, *_SIGNS, *_SPACES, *_OTHERS])
def test_such_a_name_is_refused_with_the_rule_that_it_breaks(name: str) -> None:
    assert dataset_problem(name)


@pytest.mark.parametrize("name", HOSTILE_KEYS)
def test_what_is_no_key_is_no_dataset_either(name: str) -> None:
    assert dataset_problem(name)


@pytest.mark.parametrize(
    "name",
    ["raw", "data/raw", "Data/Räume 2", "données/v1.2", "データ/raw", "a+b/c,d=(e)[1]", "x.dvc2", "dvc/yaml", "~x"],
)
def test_a_usual_name_may_be_taken(name: str) -> None:
    assert dataset_problem(name) is None


def test_a_part_leaves_room_for_the_names_beside_it() -> None:
    assert dataset_problem(f"data/{'x' * MAX_PART_BYTES}") is None
    assert dataset_problem(f"data/{'x' * (MAX_PART_BYTES + 1)}")
    assert dataset_problem(f"data/{'ä' * MAX_PART_BYTES}")


def test_names_are_compared_as_file_systems_do_that_ignore_case_and_form() -> None:
    assert folded_name("Data/É") == folded_name("data/e\u0301") == folded_name("DATA/\u200cé")
    assert folded_name("data/raw") != folded_name("data/row")


def test_of_many_bad_keys_it_is_said_how_many_there_are() -> None:
    with pytest.raises(BadKeys) as caught:
        check_keys(["good", *(f"bad{number}." for number in range(250))], where="img")
    assert caught.value.message.startswith("250 bad key(s) in img: 'bad0.' ")
    assert caught.value.message.endswith("… and 245 more")
    assert len(caught.value.problems) == MAX_PROBLEMS
