"""`Repo` is the way in: every verb, every parameter, as the verbs and the command line have them."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import datapin
from datapin.cli.main import HIDDEN, VERBS
from datapin.githooks.block import HOOKS
from datapin.repo import Repo
from datapin.trees.checkout.layout import LAYOUTS
from datapin.trees.intake.tables.table_rules import TableRules
from datapin.verbs.merging.resolve import Choice
from datapin.verbs.rows.add import AddRules
from datapin.verbs.setup.initialise_ci import SERVERS
from datapin.verbs.stages import STAGES

DOCS = Path(__file__).parents[2] / "docs"

# Method -> the verb's function, and what its parameters are called in `Repo`.
FUNCTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "init": ("setup.initialise.initialise", {}),
    "add": ("rows.add.add", {"delimiter": "csv_delimiter", "encoding": "csv_encoding"}),
    "update": ("rows.edit.update", {"name": "dataset"}),
    "remove": ("rows.edit.remove", {"name": "dataset"}),
    "write": ("rows.edit.write", {"name": "dataset"}),
    "show": ("rows.read.show", {}),
    "ls": ("rows.read.list_rows", {}),
    "query": ("rows.read.query", {}),
    "diff": ("history.diff.diff", {}),
    "status": ("status.status", {"names": "datasets"}),
    "log": ("history.log.log", {}),
    "row_log": ("history.row_log.row_log", {}),
    "checkout": ("checkout.checkout", {}),
    "rollback": ("rollback.rollback.rollback", {"names": "datasets", "version": "to"}),
    "restore": ("rollback.rollback.restore", {"names": "datasets"}),
    "recover": ("recover.recover", {}),
    "verify": ("verify.verify.verify", {"names": "checks"}),
    "trace": ("lineage.trace.trace", {}),
    "uses": ("lineage.uses.uses", {}),
    "why": ("lineage.why.why", {}),
    "run": ("stages.run", {}),
    "push": ("remote.move.push", {"names": "datasets"}),
    "fetch": ("remote.move.fetch", {}),
    "resolve": ("merging.resolve.resolve", {"name": "dataset"}),
    "doctor": ("setup.doctor.doctor", {}),
}
# What the method has beside the verb's function, and why.
BESIDE: dict[str, set[str]] = {
    "init": {"start", "progress"},  # it makes the repository that the others work in
    "status": {"ask"},  # `ask_remote` comes first
}
RULES = {"rules": AddRules, "table": TableRules, "choice": Choice}

# Option of a command -> parameter of the method, where they are not called alike; None: how it is shown, no more.
SHOWN: dict[str, str | None] = {"as_json": None, "quiet": None, "jobs": None, "exit_code": None}
OPTIONS: dict[str, dict[str, str | None]] = {
    "add": {"dataset": "to"},
    "status": {"remote": "ask"},
    "checkout": {"folder": "into"},
    "resolve": {"ours": "side", "theirs": "side", "assignments": "values"},
    "rollback": {"version": "to"},
    "verify": {"names": "checks", "is_list": None, "form": None, "output": None, "reports": None},
    "trace": {"form": None},
}
# Parameters for programs only.
OF_PROGRAMS: dict[str, set[str]] = {
    "init": {"start", "progress"},
    "add": {"confirm"},
}
WITHOUT_METHOD = {"help", "completion"}  # they are about the command line itself


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_api", DOCS / "write_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "workspace"}


def _unfolded(names: Iterable[str]) -> set[str]:
    """The names, those of records replaced by the records' fields."""
    found: set[str] = set()
    for name in names:
        rules = RULES.get(name)
        found |= {name} if rules is None else _unfolded(field.name for field in dataclasses.fields(rules))
    return found


def _command(verb: str) -> click.Command:
    command: click.Command = importlib.import_module(f"datapin.cli.commands.{verb.replace('-', '_')}").command
    return command


@pytest.mark.parametrize("method", FUNCTIONS)
def test_a_method_has_every_parameter_of_its_verb(method: str) -> None:
    place, renamed = FUNCTIONS[method]
    module, _, name = place.rpartition(".")
    function = getattr(importlib.import_module(f"datapin.verbs.{module}"), name)
    wanted = {renamed.get(one, one) for one in _unfolded(_parameters(function))} | BESIDE.get(method, set())
    assert _parameters(getattr(Repo, method)) == wanted


@pytest.mark.parametrize("verb", sorted(set(VERBS) - WITHOUT_METHOD))
def test_a_method_has_every_option_of_its_command(verb: str) -> None:
    method = verb.replace("-", "_")
    names = [str(one.name) for one in _command(verb).params]
    renamed = {**SHOWN, **OPTIONS.get(verb, {})}
    given = {renamed.get(name, name) for name in names if not name.startswith("asked_")} - {None}
    known = _parameters(getattr(Repo, method)) | (_parameters(Repo.row_log) if verb == "log" else set())
    assert given | OF_PROGRAMS.get(verb, set()) == known


def test_choices_of_options_are_those_of_the_house() -> None:
    choices = {
        (verb, one.name): tuple(one.type.choices)
        for verb in (*VERBS, *HIDDEN)
        for one in _command(verb).params
        if isinstance(one.type, click.Choice)
    }
    assert choices["checkout", "layout"] == LAYOUTS
    assert choices["run", "stage"] == STAGES
    assert choices["init", "ci"] == SERVERS
    assert choices["hook", "hook"] == tuple(sorted(HOOKS))


def test_results_are_frozen_and_told(writer: ModuleType) -> None:
    results = writer.results()
    assert len(results) > 15
    for kind in results:
        assert kind.__dataclass_params__.frozen, kind
        assert kind.__dataclass_params__.repr, kind
        assert kind.__doc__, kind
        assert not kind.__doc__.startswith(f"{kind.__name__}("), f"{kind}: the text that dataclasses make"


def test_methods_are_typed_and_told(writer: ModuleType) -> None:
    names = writer.names_in("datapin.questions") | writer.names_in("datapin.repo")
    for name, method in writer.methods(Repo):
        assert inspect.getdoc(method), name
        hints = typing.get_type_hints(method, names)
        assert set(hints) == {*inspect.signature(method).parameters, "return"} - {"self", "cls"}, name


def test_the_page_is_written_from_the_docstrings(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DOCS / "write_api.py", tmp_path / "api.md"], check=True)
    kept, written = ((folder / "api.md").read_text("utf-8") for folder in (DOCS, tmp_path))
    assert kept == written, "`make api` writes the page again"


def test_what_the_package_exports() -> None:
    assert datapin.__all__ == sorted(datapin.__all__)
    assert all(getattr(datapin, name) is not None for name in datapin.__all__)
    from datapin.errors import DatapinError, UnknownDataset

    assert issubclass(UnknownDataset, DatapinError)
    assert datapin.errors.UnknownDataset is UnknownDataset


def test_the_door_opens_without_the_verbs() -> None:
    code = "import sys, datapin; datapin.Repo; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "datapin.repo" in loaded
    assert not [name for name in loaded if name.startswith(("datapin.verbs", "pyarrow", "numpy"))]
