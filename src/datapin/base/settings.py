"""The repository's settings: `.datapin/config.toml`, overlaid by the git-ignored `.datapin/config.local.toml`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from datapin.base.documents import TOML_BYTES, read_bounded, read_toml
from datapin.base.errors import BadDocument, BadSettings

if TYPE_CHECKING:
    from annotated_types import Ge, Le, MinLen
    from pydantic import ValidationError

FOLDER = ".datapin"
CONFIG = "config.toml"
CONFIG_LOCAL = "config.local.toml"
# What verbs say in a clone that lacks our hooks; a warning where all else is a note.
WITHOUT_HOOKS = (
    "this clone has no hooks of datapin: rows do not follow `git checkout` and `git pull`, and `git push` does not see "
    "to the data; run `datapin init` (or `datapin init --no-hooks` to do without)"
)

MEBIBYTE = 1 << 20

_RULES = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the local store lies and how it packs.

    `dir` is relative to the repository, or absolute; None is Git's own folder. From `large_asset` bytes on an asset is
    kept loose; a pack is sealed when it reaches `pack_size` bytes.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    dir: Annotated[str, MinLen(1)] | None = None
    large_asset: Annotated[int, Ge(4096)] = 4 * MEBIBYTE
    pack_size: Annotated[int, Ge(4096)] = 64 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class CheckoutSettings:
    """Whether files that were checked out of a dataset follow it when Git changes what its pointer pins."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    follow: bool = False


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where the map of stages runs: `local`, or `dask` with its own cluster here or at `address`.

    The address is taken from `config.local.toml` only: what a commit carries sends nobody's data and code anywhere.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    kind: Literal["local", "dask"] = "local"
    address: Annotated[str, MinLen(1)] | None = None

    @property
    def text(self) -> str:
        """As `--engine` says it."""
        return self.kind if self.address is None else f"{self.kind}:{self.address}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `.datapin/config.toml` may say.

    `remote` is the name of a DVC remote, None for DVC's default one; `jobs` is how many worker processes, None for one
    per core.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    remote: str | None = None
    jobs: Annotated[int, Ge(1), Le(256)] | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    checkout: CheckoutSettings = field(default_factory=CheckoutSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)


def read_settings(root: Path) -> Settings:
    """The settings of the repository at `root`. Raises BadSettings for an unknown name or an impossible value."""
    merged: dict[str, Any] = {}
    for name in (CONFIG, CONFIG_LOCAL):
        read = _read_toml(root / FOLDER / name)
        if name == CONFIG and isinstance(read.get("engine"), dict) and "address" in read["engine"]:
            problem = f"an address that Git tracks would send code to it from every clone, expected in {CONFIG_LOCAL}"
            advice = f"move it to {FOLDER}/{CONFIG_LOCAL}"
            raise BadSettings(path=f"{FOLDER}/{name}", where="engine.address", problem=problem, advice=advice)
        merged = _overlay(merged, read)
    says_something = any(value != {} for value in merged.values())
    return _checked(merged) if says_something else Settings()


def _checked(values: dict[str, Any]) -> Settings:
    # Imported here: 80 ms that a repository with the default settings does not pay at every command. Pydantic looks up
    # the names in the annotations above among these.
    from annotated_types import Ge, Le, MinLen  # noqa: F401
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON: strict validation takes a section for a StoreSettings only there.
        return TypeAdapter(Settings).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise bad_settings(f"{FOLDER}/{CONFIG}", error) from None


def bad_settings(path: str, error: ValidationError) -> BadSettings:
    """What pydantic found wrong first, as one line: the dotted name, what was seen, what was expected."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    seen = first.get("input")
    problem = {
        "extra_forbidden": "unknown name",
        "missing": "is required",
    }.get(first["type"], f"{first['msg'].removeprefix('Value error, ')}, seen {seen!r}")
    return BadSettings(path=path, where=where, problem=problem)


def _read_toml(path: Path) -> dict[str, Any]:
    shown = f"{FOLDER}/{path.name}"
    try:
        return read_toml(read_bounded(path, TOML_BYTES), shown)
    except FileNotFoundError:
        return {}
    except BadDocument as error:
        raise BadSettings(path=shown, where="", problem=error.problem) from None


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
