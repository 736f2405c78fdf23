"""DVC's settings as far as reading needs them: where its cache lies, which remotes there are. No import of DVC.

Levels, lowest first: system, global, `.dvc/config`, `.dvc/config.local`. A file that says more than plain values is
left to DVC's own reader.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from pathlib import Path
from typing import Any

from datapin.base.errors import BadSettings

_REMOTE = re.compile(r"""^'?remote "(?P<name>.*)"'?$""")
_PLAIN = re.compile(r"""^[^'"#,\n]*$|^"[^"#,\n]*"$|^'[^'#,\n]*'$""")


def cache_directory(root: Path) -> Path:
    """The root of DVC's cache for the repository at `root`; `files/md5` lies below it."""
    settings = dvc_settings(root)
    place = settings.get("cache", {}).get("dir")
    return Path(place) if place else root / ".dvc" / "cache"


def remote_names(root: Path) -> list[str]:
    """Names of all DVC remotes, sorted."""
    return sorted(settings_of_remotes(root))


def settings_of_remotes(root: Path) -> dict[str, dict[str, Any]]:
    """What DVC's settings say about each remote, `url` and more."""
    return dict(dvc_settings(root).get("remote", {}))


def default_remote(root: Path) -> str | None:
    """The remote that DVC uses if none is named."""
    name = dvc_settings(root).get("core", {}).get("remote")
    return str(name) if name else None


def dvc_settings(root: Path) -> dict[str, dict[str, Any]]:
    """DVC's settings: section, name, value (text); remotes under "remote", by name. Relative paths are resolved.

    Raises BadSettings if DVC itself cannot read them.
    """
    merged: dict[str, dict[str, Any]] = {"remote": {}}
    if sys.platform != "linux":
        return _settings_by_dvc(root)
    for path in _files(root):
        level = _read_plain(path)
        if level is None or "local" in level.get("cache", {}):
            return _settings_by_dvc(root)
        for section, values in level.items():
            remote = _REMOTE.match(section)
            into = merged["remote"].setdefault(remote["name"], {}) if remote else merged.setdefault(section, {})
            for name, value in values.items():
                is_path = (section == "cache" and name == "dir") or (remote is not None and name == "url")
                into[name] = _resolved(path.parent, value) if is_path else value
    return merged


def _files(root: Path) -> list[Path]:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    shared = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")[0]
    system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or f"{shared}/dvc"
    personal = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or home / "dvc"
    return [
        Path(system) / "config",
        Path(personal) / "config",
        root / ".dvc" / "config",
        root / ".dvc" / "config.local",
    ]


def _read_plain(path: Path) -> dict[str, dict[str, str]] | None:
    """Sections of plain values, None if only DVC's reader can tell."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=True)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (configparser.Error, UnicodeDecodeError, OSError):
        return None
    sections: dict[str, dict[str, str]] = {}
    for section in parser.sections():
        values = dict(parser.items(section))
        if not all(_PLAIN.match(value) for value in values.values()):
            return None
        sections[section if section.startswith("'") else section.lower()] = {
            name: value.strip("'\"") for name, value in values.items()
        }
    return sections


def _resolved(folder: Path, value: str) -> str:
    if re.match(r"\w+://", value):
        return value
    return os.path.abspath(folder / Path(value).expanduser())


def _settings_by_dvc(root: Path) -> dict[str, dict[str, Any]]:
    from dvc.config import Config, ConfigError

    try:
        return dict(Config(os.fspath(root / ".dvc")))
    except ConfigError as error:
        raise bad_config(str(error).splitlines()[0]) from None


def bad_config(problem: str) -> BadSettings:
    """The error for settings that DVC itself refuses."""
    ways = "correct it (and .dvc/config.local), or bring it back with `git checkout -- .dvc/config`"
    return BadSettings(".dvc/config", "", problem, ways)
