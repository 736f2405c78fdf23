"""What may be typed in a place: datasets, versions, columns, remotes. Small reads only, and silence if they fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from datapin.base.errors import DatapinError
from datapin.cli.shell.asked import Asked
from datapin.cli.shell.guide_pages import page_names
from datapin.plumbing import column_names, dataset_names, find_root, git_lines, remote_names

Items = list[CompletionItem[str]]
Find = Callable[[click.Context, click.Parameter, str], Items]

_MOST_BACK = 9
_REFS = ("for-each-ref", "--format=%(refname:short)", "refs/tags", "refs/heads", "refs/remotes")


def complete_all(command: click.Command) -> None:
    """Let `complete` tell what may follow for every option and argument of the command."""
    for param in command.params:
        param._custom_shell_complete = complete  # as if each had been made with `shell_complete`


def complete(context: click.Context, param: click.Parameter, begun: str) -> Items:
    """What may follow in the place of `param`, told by its type or the word for its value in the help."""
    if not isinstance(param.type, click.types.StringParamType):
        return param.type.shell_complete(context, param, begun)
    word = (param.metavar or (param.name or "").upper()).strip("[]. ")
    with suppress(DatapinError, OSError, ValueError, LookupError, AttributeError, TypeError):
        if isinstance(param, click.Option) and param.name in ("remote", "remote_name"):
            return _items(remote_names(_root()), begun)
        if word in ("A", "B"):
            return _version(context, param, begun)
        for mark, find in _BY_WORD.items():
            if word.startswith(mark):
                return find(context, param, begun)
    return []


def _items(values: Iterable[str], begun: str = "", before: str = "") -> Items:
    found = (f"{before}{value}" for value in values)
    return [CompletionItem(value) for value in dict.fromkeys(found) if value.startswith(begun)]


def _root() -> Path:
    return find_root(Path.cwd())


def _datasets(root: Path) -> list[str]:
    """Every dataset, as the user's folder and the root name it: both are understood."""
    here = Path.cwd().resolve()
    names = []
    for name in dataset_names(root):
        path = root / name
        names.append(path.relative_to(here).as_posix() if path.is_relative_to(here) else name)
    return names


def _dataset(context: click.Context, param: click.Parameter, begun: str) -> Items:
    return _items(_datasets(_root()), begun)


def _selector(context: click.Context, param: click.Parameter, begun: str) -> Items:
    name, at, _ = begun.partition("@")
    root = _root()
    return _items(_versions(root, name), begun, f"{name}@") if at else _items(_datasets(root), begun)


def _path_or_selector(context: click.Context, param: click.Parameter, begun: str) -> Items:
    return _selector(context, param, begun) or [CompletionItem(begun, type="file")]


def _version(context: click.Context, param: click.Parameter, begun: str) -> Items:
    return _items(_versions(_root(), _named_dataset(context)), begun)


def _revision(context: click.Context, param: click.Parameter, begun: str) -> Items:
    return _items(["HEAD", *_lines(_root(), *_REFS)], begun)


def _versions(root: Path, dataset: str) -> list[str]:
    """Tags, branches, and as many steps back as the pointer has commits."""
    count = 0
    if dataset:
        file = f"{dataset.rstrip('/')}.dvc"
        file = file if (root / file).is_file() else os.path.relpath(Path(file).resolve(), root)
        said = _lines(root, "rev-list", "--count", f"--max-count={_MOST_BACK + 1}", "HEAD", "--", file)
        count = int(said[0]) if said else 0
    return [*_lines(root, *_REFS), "HEAD", *(f"~{back}" for back in range(1, count))]


def _lines(root: Path, *words: str) -> list[str]:
    with suppress(DatapinError):
        return git_lines(root, *words)
    return []


def _named_dataset(context: click.Context) -> str:
    """The dataset that the words before name. What click made of them ends at an option that lacks its value."""
    known = set(_datasets(_root()))
    words = (word.partition("@")[0].rstrip("/") for word in context.ensure_object(Asked).words)
    return next((word for word in words if word in known), "")


def _columns(context: click.Context) -> list[str]:
    """The columns of the dataset that the words before name, from the end of its first shard."""
    name = _named_dataset(context)
    places = (folder / name / "part-00000.parquet" for folder in (Path.cwd(), _root()))
    path = next((place for place in places if name and place.is_file()), None)
    return [] if path is None else column_names(path)


def _column_list(context: click.Context, param: click.Parameter, begun: str) -> Items:
    before, comma, _ = begun.rpartition(",")
    return _items((name for name in _columns(context) if name not in before.split(",")), begun, before + comma)


def _assignment(context: click.Context, param: click.Parameter, begun: str) -> Items:
    return [] if "=" in begun else _items((f"{name}=" for name in _columns(context)), begun)


def _condition(context: click.Context, param: click.Parameter, begun: str) -> Items:
    place = max(begun.rfind(mark) for mark in " (=<>") + 1
    return _items(_columns(context), begun, begun[:place]) if begun.count("'") % 2 == 0 else []


def _topic(context: click.Context, param: click.Parameter, begun: str) -> Items:
    verbs = context.find_root().command
    assert isinstance(verbs, click.Group)
    return _items([*verbs.list_commands(context), *page_names()], begun)


def _of_type(kind: str) -> Find:
    return lambda context, param, begun: [CompletionItem(begun, type=kind)]


_BY_WORD: dict[str, Find] = {
    "DATASET@": _selector,
    "DATASET[@": _selector,
    "ASSET|DATASET": _dataset,
    "DATASET": _dataset,
    "PATH": _path_or_selector,
    "VERSION": _version,
    "REV": _revision,
    "COMMAND|PAGE": _topic,
    "COL=": _assignment,
    "A,B": _column_list,
    "SQL": _condition,
    "DIR": _of_type("dir"),
    "SRC": _of_type("file"),
    "FILE": _of_type("file"),
}
