"""Verbs as completion sees them: options read from the source of their modules, which nobody imports meanwhile.

Importing a verb takes 0.2 to 0.4 s (Arrow, NumPy); reading its source takes 2 ms, and there is no second list to keep.
What cannot be told without running code, such as a computed list of choices, is left out.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from datapin.cli.shell import asked
from datapin.cli.shell.candidates import complete

_COMMANDS = "datapin.cli.commands"
_LIGHT = {"common_options": asked.common_options, "jobs_option": asked.jobs_option}
_TYPES = {"IntRange": click.INT, "FloatRange": click.FLOAT, "Path": click.Path(), "File": click.Path()}
_MOST_STEPS = 8


class _Untold(Exception):
    """Only running the code would tell."""


def light_command(verb: str) -> click.Command:
    """The command `verb` with its options and arguments, and without what it does."""
    source = _Source.of(f"{_COMMANDS}.{verb.replace('-', '_')}")
    params: list[click.Parameter] = []
    function = source.functions["command"]
    for decorator in function.decorator_list:
        params += _params(decorator, source)
    return click.Command(verb, params=params, help=ast.get_docstring(function))


@dataclass(slots=True)
class _Source:
    """A module's text: its functions, constants and imported names."""

    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, module: str) -> _Source:
        spec = importlib.util.find_spec(module)
        loader: Any = spec.loader if spec is not None else None
        source = cls()
        for node in ast.parse(loader.get_source(module) if loader is not None else "").body:
            if isinstance(node, ast.FunctionDef):
                source.functions[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                source.constants[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                source.constants[node.target.id] = node.value
            elif isinstance(node, ast.ImportFrom) and node.module:
                source.imports |= {one.asname or one.name: (node.module, one.name) for one in node.names}
        return source


def _params(decorator: ast.expr, source: _Source, steps: int = 0) -> Iterator[click.Parameter]:
    """What one decorator adds: `@click.option(…)`, or a function of ours that adds options in turn."""
    if steps > _MOST_STEPS:
        return
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(called, ast.Attribute) and called.attr in ("option", "argument"):
        assert isinstance(decorator, ast.Call)
        yield _param(called.attr, decorator, source)
    elif isinstance(called, ast.Name) and called.id in _LIGHT:
        decorated: Any = _LIGHT[called.id](lambda: None)
        yield from reversed(decorated.__click_params__)
    elif isinstance(called, ast.Name):
        home, name = source, called.id
        if name in source.imports:
            module, name = source.imports[name]
            home = _Source.of(module) if module.startswith("datapin.cli") else source
        for node in ast.walk(home.functions[name]) if name in home.functions else ():
            if isinstance(node, ast.Call) and node is not decorator:
                yield from _params(node, home, steps + 1)


def _param(kind: str, call: ast.Call, source: _Source) -> click.Parameter:
    names = [str(_value(word, source)) for word in call.args]
    settings: dict[str, Any] = {}
    for keyword in call.keywords:
        try:
            if keyword.arg in (
                "type",
                "nargs",
                "multiple",
                "is_flag",
                "count",
                "metavar",
                "help",
                "required",
                "hidden",
            ):
                settings[keyword.arg] = _value(keyword.value, source)
        except _Untold:
            continue
    if kind == "argument":
        settings.pop("help", None)
        return click.Argument(names, shell_complete=complete, **settings)
    return click.Option(names, shell_complete=complete, **settings)


def _value(node: ast.expr, source: _Source, steps: int = 0) -> Any:
    """What an expression is, as far as text tells. Raises _Untold."""
    if steps > _MOST_STEPS:
        raise _Untold
    if isinstance(node, ast.Name):
        return _named(node.id, source, steps)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "Choice" and node.args:
            return click.Choice([str(value) for value in _value(node.args[0], source, steps + 1)])
        if name in _TYPES:
            return _TYPES[name]
        if name in ("sorted", "list", "tuple") and len(node.args) == 1:
            found = _value(node.args[0], source, steps + 1)
            return sorted(found) if name == "sorted" else list(found)
        if name == "get_args" and isinstance(node.args[0], ast.Name):
            return _literal_words(source.constants.get(node.args[0].id))
        raise _Untold
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return [_value(item, source, steps + 1) for item in node.elts]
    if isinstance(node, ast.Dict):
        return [_value(key, source, steps + 1) for key in node.keys if key is not None]
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _Untold from None


def _named(name: str, source: _Source, steps: int) -> Any:
    if name in source.constants:
        return _value(source.constants[name], source, steps + 1)
    if name in source.imports and source.imports[name][0].startswith("datapin."):
        module, name = source.imports[name]
        return _named(name, _Source.of(module), steps + 1)
    raise _Untold


def _literal_words(node: ast.expr | None) -> list[str]:
    """The words of `Literal["a", "b"]`."""
    if not isinstance(node, ast.Subscript):
        raise _Untold
    words = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return [str(ast.literal_eval(word)) for word in words]
