"""Writes the Python page (docs/api.md by default) from docstrings of what `datapin` exports: `make api`."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datapin
from datapin.dataset import Batch, Sample

_HEAD = """\
# Python

Written by `make api` from the docstrings; what is not on this page is not promised. In signatures, `Named` is
`str | Path`, `SomeNamed` one of these or a sequence of them, `Texts` a text or a sequence of texts, `Fetch` is `"auto"`
or `"never"`, `Verify` is `True`, `False` or `"first"`.

"""
_WIDTH = 110


def page() -> str:
    """The whole page."""
    names = [name for name in datapin.__all__ if not name.startswith("_") and name != "errors"]
    exported = {name: getattr(datapin, name) for name in names}
    text = _HEAD + f"```python\n{_example()}\n```\n"
    text += "\n## Functions\n" + "".join(
        _function(thing, f"datapin.{name}") for name, thing in exported.items() if inspect.isfunction(thing)
    )
    for kind in (datapin.Repo, datapin.Dataset, Batch, Sample):
        text += f"\n## {kind.__name__}\n\n{_prose(kind)}\n{_members(kind)}"
    text += "\n## Results\n\nFrozen; `print` shows every field, and `--json` prints the same ones.\n"
    text += "".join(_record(kind) for kind in results())
    return text + "\n## Errors\n\n" + _errors()


def results() -> list[type]:
    """Every class of ours that a method of `Repo` answers with, and those within them, sorted by name."""
    found: dict[str, type] = {}
    names = {name: one for kind in parts(datapin.Repo) for name, one in names_in(kind.__module__).items()}
    waiting = [typing.get_type_hints(method, names)["return"] for _, method in methods(datapin.Repo)]
    while waiting:
        kind = waiting.pop()
        waiting += typing.get_args(kind)
        if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting += typing.get_type_hints(kind, names_in(kind.__module__)).values()
    return [found[name] for name in sorted(found)]


def names_in(module: str) -> dict[str, Any]:
    """What annotations of a module may name, also what it imports for the type checker only."""
    loaded = importlib.import_module(module)
    names = dict(vars(loaded))
    for node in ast.parse(inspect.getsource(loaded)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for one in node.body:
                if isinstance(one, ast.ImportFrom) and one.module:
                    for alias in one.names:
                        names[alias.asname or alias.name] = _imported(one.module, alias.name)
                elif isinstance(one, ast.Import):
                    for alias in one.names:
                        names[alias.asname or alias.name] = importlib.import_module(alias.name)
    return names


def parts(kind: type) -> list[type]:
    """A class of ours and those that it is made of, its own methods first."""
    return [one for one in kind.__mro__ if one.__module__.startswith("datapin.")]


def methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of a class, in the order of its source; functions, whatever they are bound to."""
    for name, thing in [pair for part in parts(kind) for pair in vars(part).items()]:
        function = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
        if inspect.isfunction(function) and not name.startswith("_"):
            yield name, function


def _imported(module: str, name: str) -> Any:
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if hasattr(loaded, name) else importlib.import_module(f"{module}.{name}")


def _example() -> str:
    return inspect.cleandoc(datapin.__doc__ or "").partition("\n\n")[2]


def _members(kind: type) -> str:
    functions, text = dict(methods(kind)), ""
    for name, thing in [pair for part in parts(kind) for pair in vars(part).items()]:
        getter = thing.fget if isinstance(thing, property) else getattr(thing, "func", None)
        if name in functions:
            text += _function(functions[name], f"{kind.__name__}.{name}")
        elif getter is not None and not name.startswith("_"):
            line = f"{name}: {_returned(getter)}"
            text += f"\n### {kind.__name__}.{name}\n\n```python\n{line}\n```\n\n{_prose(getter)}\n"
    return text


def _returned(function: Callable[..., Any]) -> str:
    return str(function.__annotations__.get("return", "None")).replace("reports.", "")


def _function(function: Callable[..., Any], title: str) -> str:
    words = _words([one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")])
    name = title.rpartition(".")[2]
    line = f"{name}({', '.join(words)}) -> {_returned(function)}"
    if len(line) > _WIDTH:
        line = f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f") -> {_returned(function)}"
    return f"\n### {title}\n\n```python\n{line}\n```\n\n{_prose(function)}\n"


def _words(parameters: list[inspect.Parameter]) -> list[str]:
    words: list[str] = []
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        word = one.name if one.annotation is one.empty else f"{one.name}: {one.annotation}".replace("'", '"')
        default = json.dumps(one.default) if isinstance(one.default, str) else repr(one.default)
        if one.default is not one.empty:
            word += f" = {'SILENT' if one.name == 'progress' else default}"
        words.append(word)
    return words


def _prose(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _record(kind: type) -> str:
    lines = [f"{one.name}: {str(one.type).replace('reports.', '')}" for one in dataclasses.fields(kind)]
    text = f"\n### {kind.__name__}\n\n{_prose(kind)}\n\n```python\n" + "\n".join(lines) + "\n```\n"
    for name, thing in vars(kind).items():
        if isinstance(thing, property) and not name.startswith("_"):
            text += f"\n`{name}: {_returned(thing.fget)}`: {_prose(thing)}\n"
    return text


def _errors() -> str:
    """The tree of errors, each below what it is a kind of."""
    known = [getattr(datapin.errors, name) for name in datapin.errors.__all__]
    kinds = {kind for kind in known if inspect.isclass(kind)}
    return (
        "`from datapin.errors import …`. `except datapin.errors.DatapinError` catches all; `message`, `hint` and\n"
        "`exit_code` are what the command line says, `kind` is the word of `--json`.\n\n"
        + "".join(_branch(datapin.errors.DatapinError, kinds, 0))
    )


def _branch(kind: type, kinds: set[type], depth: int) -> Iterator[str]:
    first = " ".join(_prose(kind).partition("\n\n")[0].splitlines())
    yield f"{'  ' * depth}- `{kind.__name__}` ({getattr(kind, 'exit_code', '')}): {first}\n"
    for below in sorted((one for one in kinds if one.__bases__[0] is kind), key=lambda one: one.__name__):
        yield from _branch(below, kinds, depth + 1)


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("api.md")
    place.write_text(page(), encoding="utf-8")
