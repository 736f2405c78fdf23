"""`params.yaml`: read safely, checked by pydantic, every problem one clear error."""

from __future__ import annotations

import difflib
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from datapin.base.documents import read_bounded, read_yaml
from datapin.base.errors import BadDocument, BadSettings
from datapin.manifest.dataset_names import dataset_problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 50_000


class ParamsSection(BaseModel):
    """Part of `params.yaml`: unknown names are errors, nothing is converted silently, values do not change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def reader_of(cls, given: object) -> type[Self]:
        """The class that reads what is `given`. Raises UnknownKind if that asks for one that is not there."""
        return cls


class UnknownKind(ValueError):
    """A section names a kind of data that there is not: the name seen; those that are `known`."""

    def __init__(self, seen: str, known: tuple[str, ...]) -> None:
        super().__init__(seen)
        self.known = known


def path_problem(path: str) -> str | None:
    """What keeps a text from being a path of an input or output in the repository."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        return "must be a path below the repository, such as data/prepared"
    if parts[0] in (".git", ".dvc", ".datapin") or any(ord(letter) < 32 for letter in path):
        return "must not lie in .git, .dvc or .datapin, nor hold control characters"
    return None


def _check_path(path: str) -> str:
    problem = path_problem(path)
    if problem is not None:
        raise ValueError(problem)
    return path


RepoPath = Annotated[str, AfterValidator(_check_path)]
"""A path below the root of the repository, with `/` between its parts."""


def _check_output(path: str) -> str:
    problem = dataset_problem(path)
    if problem is not None:
        raise ValueError(f"{problem}; DVC must be able to pin it")
    return path


OutputPath = Annotated[str, AfterValidator(_check_path), AfterValidator(_check_output)]
"""As RepoPath, of something that is written there and pinned."""

Params = TypeVar("Params", bound=ParamsSection)


def read_params(path: Path, section: str, model: type[Params]) -> Params:
    """The section `section` of the file `path` as `model`; a section that is not there has all its defaults.

    Raises BadSettings for the first problem; its hint names the others.
    """
    given = read_params_file(path).get(section)
    return validate_params({} if given is None else given, path.name, section, model)


def validate_params(given: object, path: str, section: str, model: type[Params]) -> Params:
    """`given` (parsed YAML) as `model`. Raises BadSettings for the first problem; its hint names the others."""
    try:
        model = model.reader_of(given)
        return model.model_validate(given)
    except UnknownKind as error:
        close = difflib.get_close_matches(str(error), error.known, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"kinds: {', '.join(error.known)}"
        raise BadSettings(path, f"{section}.kind", f"unknown kind of data {str(error)!r}", advice) from None
    except ValidationError as error:
        problems = [_problem(details, path, section, given, model) for details in error.errors(include_url=False)]
    first, others = problems[0], problems[1:]
    if others:
        first.advice = f"{first.hint}; also {'; '.join(f'{other.where}: {other.problem}' for other in others[:5])}"
    raise first


def read_params_file(path: Path) -> dict[str, Any]:
    """The top-level mapping of a YAML file; see `parse_yaml`. Raises BadSettings."""
    try:
        data = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        raise BadSettings(
            path=path.name, where="", problem="no such file", advice="run `datapin init --template image` for a start"
        ) from None
    except BadDocument as error:
        raise BadSettings(path=path.name, where="", problem=error.problem) from None
    except OSError as error:
        raise BadSettings(path=path.name, where="", problem=f"cannot be read: {error.strerror}") from None
    return parse_yaml(data, path.name)


def parse_yaml(data: bytes, name: str) -> dict[str, Any]:
    """The top-level mapping of YAML text. No tags, no aliases, bounded size and depth, no name twice.

    Raises BadSettings.
    """
    try:
        loaded = read_yaml(data, name, most_bytes=MAX_BYTES, most_depth=MAX_DEPTH, most_nodes=MAX_VALUES, aliases=False)
    except BadDocument as error:
        raise BadSettings(path=name, where="", problem=error.problem) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise BadSettings(path=name, where="", problem="must be a mapping of stages to their parameters")
    return loaded


def _problem(details: ErrorDetails, path: str, section: str, given: object, model: type[BaseModel]) -> BadSettings:
    parts = _typed_parts(given, details["loc"], is_missing=details["type"] == "missing")
    where = ".".join([section, *parts])
    if details["type"] == "extra_forbidden":
        known = sorted({name for one in _models_along(model, details["loc"][:-1]) for name in _names_of(one)})
        close = difflib.get_close_matches(parts[-1], known, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"known names: {', '.join(known)}"
        return BadSettings(path=path, where=where, problem="unknown name", advice=advice)
    if details["type"] == "missing":
        return BadSettings(path=path, where=where, problem="is required")
    said = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return BadSettings(path=path, where=where, problem=f"{said[:1].lower()}{said[1:]}, seen {_shown(details['input'])}")


def _typed_parts(given: object, loc: tuple[int | str, ...], *, is_missing: bool) -> list[str]:
    """The parts of `loc` that the user typed: pydantic puts in tags for members of unions and for keys."""
    parts = []
    for position, part in enumerate(loc):
        if isinstance(given, dict) and part in given:
            given = given[part]
        elif isinstance(given, list) and isinstance(part, int):
            given = given[part] if part < len(given) else None
        elif not (is_missing and position == len(loc) - 1):
            continue
        parts.append(str(part))
    return parts


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _names_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_along(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """The models that what lies at `loc` may be."""
    models: list[type[BaseModel]] = [model]
    for part in loc:
        found = [one.model_fields[part].annotation for one in models if part in one.model_fields]
        if found:
            models = [inner for annotation in found for inner in _models_in(annotation)]
        else:  # a list's index, or the tag of a union's member: that member is meant, if it can be told
            tagged = [one for one in models if _tag_of(one) == part]
            models = tagged or models
    return models


def _tag_of(model: type[BaseModel]) -> str | None:
    use = model.model_fields.get("use")
    values = typing.get_args(use.annotation) if use is not None else ()
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]
