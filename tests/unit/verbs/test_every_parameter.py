"""Every verb of `Repo`, with every parameter it has, is called by the tests of this folder; reports are frozen."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datapin import Repo
from worlds import RAW, World


def called() -> dict[str, set[str | int]]:
    """Name of a method -> names of the arguments, or places of those without a name, that tests here pass to it."""
    found: dict[str, set[str | int]] = defaultdict(set)
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_repo(node.func.value):
                found[node.func.attr] |= {word.arg for word in node.keywords if word.arg}
                found[node.func.attr] |= set(range(len(node.args)))
    return found


def _is_repo(node: ast.expr) -> bool:
    """Whether this is `Repo`, `repo`, `world.repo` or `Repo.find(...)`: a set has an `add` and a `remove`, too."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "Repo.find"
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
    return name in ("repo", "Repo")


def verbs() -> Iterator[tuple[str, list[inspect.Parameter]]]:
    for name, member in inspect.getmembers(Repo):
        if not name.startswith("_") and callable(member):
            yield name, [one for one in inspect.signature(member).parameters.values() if one.name != "self"]


@pytest.mark.parametrize(("name", "parameters"), list(verbs()), ids=[name for name, _ in verbs()])
def test_every_parameter_of_every_verb_is_passed(name: str, parameters: list[inspect.Parameter]) -> None:
    found = called()
    assert name in found, f"no test here calls Repo.{name}"
    for place, parameter in enumerate(parameters):
        ways = {parameter.name} if parameter.kind is inspect.Parameter.KEYWORD_ONLY else {parameter.name, place}
        assert ways & found[name], f"no test here passes {parameter.name} to Repo.{name}"


def test_reports_are_frozen_and_show_their_fields(world: World) -> None:
    repo = world.repo
    reports: list[Any] = [
        repo.show(RAW), repo.diff(RAW), repo.status(), *repo.log(RAW), *repo.row_log(RAW, "a/00.bin"),
        repo.checkout(RAW, into=world.path / "out"), repo.rollback(RAW, to="v1", dry_run=True),
        repo.restore(dry_run=True), repo.recover(), repo.verify("HEAD"), repo.trace(RAW), repo.uses(f"{RAW}:a/00.bin"),
        repo.push(dry_run=True), repo.doctor(), repo.rebuild_index(), repo.update(RAW, "label = label"),
        repo.remove(RAW, where="false"), repo.add(world.path / "more", to=RAW), *repo.checks(),
    ]  # fmt: skip
    for report in reports:
        shown = repr(report)
        for field in dataclasses.fields(report):
            if field.repr:
                assert f"{field.name}=" in shown
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(report, dataclasses.fields(report)[0].name, None)
