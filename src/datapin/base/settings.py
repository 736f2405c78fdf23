"""The repository's settings: `.datapin/config.toml`, overlaid by the git-ignored `.datapin/config.local.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datapin.base.errors import BadSettings

FOLDER = ".datapin"
CONFIG = "config.toml"
CONFIG_LOCAL = "config.local.toml"

MEBIBYTE = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StoreSettings(_Section):
    """Where the local store lies and how it packs."""

    dir: str = Field(default=".datapin/store", min_length=1, description="relative to the repository, or absolute")
    large_asset: int = Field(default=4 * MEBIBYTE, ge=4096, description="bytes; from here on an asset is kept loose")
    pack_size: int = Field(default=64 * MEBIBYTE, ge=4096, description="bytes; a pack is sealed when it reaches this")


class Settings(_Section):
    """Everything `.datapin/config.toml` may say."""

    remote: str | None = Field(default=None, description="name of the DVC remote; None: DVC's default remote")
    jobs: int | None = Field(default=None, ge=1, le=256, description="worker processes; None: one per core")
    store: StoreSettings = StoreSettings()


def read_settings(root: Path) -> Settings:
    """The settings of the repository at `root`. Raises BadSettings for an unknown name or an impossible value."""
    merged: dict[str, Any] = {}
    for name in (CONFIG, CONFIG_LOCAL):
        merged = _overlay(merged, _read_toml(root / FOLDER / name))
    try:
        return Settings.model_validate(merged)
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
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(path=f"{FOLDER}/{path.name}", where="", problem=f"not TOML: {error}") from None


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
