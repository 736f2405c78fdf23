"""Drivers: how Git shows and merges pointers. `.gitattributes` names them for everybody, each clone's settings say what
they run; a clone without the settings shows and merges pointers as text, as Git does by itself.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from datapin.base.files import publish_bytes
from datapin.base.findings import Finding
from datapin.git.git_settings import attributes, local_settings, local_settings_file, set_locally
from datapin.githooks.install import InstalledFiles, own_command, shown

ATTRIBUTES = ".gitattributes"
# The last line that matches wins: ours stand after a `*.dvc merge=dvc` of DVC's own driver.
LINES = ("*.dvc diff=datapin merge=datapin", "dvc.lock merge=datapin-lock")

_INSTALL = "run `datapin init`"
# Where the command is not to be found, or does not run, Git must still show and merge as without a driver: what failed
# and left no marks has not merged. A `.dvc` file without our summary is shown without starting Python.
_SHOW = (
    "f() { c=$(command -v git-datapin || :); case $c in /*) ;; *) c=;; esac; "
    '[ -n "$c" ] && grep -q datapin: "$1" && "$c" textconv "$1" 2>/dev/null || cat "$1"; }; f'
)
_MERGE = (
    "f() {{ c=$(command -v git-datapin || :); case $c in /*) ;; *) c=;; esac; "
    'if [ -n "$c" ]; then "$c" {verb} "$@" && exit 0; s=$?; '
    'if [ $s -gt 128 ] || grep -q "^<<<<<<<" "$2"; then exit $s; fi; fi; '
    'exec git merge-file -L ours -L base -L theirs "$2" "$1" "$3"; }}; f %O %A %B %P'
)
# Where histories cross, Git first merges their common versions among themselves, by the driver that `recursive` names.
_SETTINGS = {
    "diff.datapin.textconv": _SHOW,
    "merge.datapin.name": "rows of datasets, by key and column",
    "merge.datapin.driver": _MERGE.format(verb="merge-driver"),
    "merge.datapin.recursive": "datapin-inner",
    "merge.datapin-inner.name": "rows of datasets, of two common versions",
    "merge.datapin-inner.driver": _MERGE.format(verb="merge-driver --inner"),
    "merge.datapin-lock.name": "stages of dvc.lock",
    "merge.datapin-lock.driver": _MERGE.format(verb="merge-lock"),
    "merge.datapin-lock.recursive": "datapin-lock-inner",
    "merge.datapin-lock-inner.name": "stages of dvc.lock, of two common versions",
    "merge.datapin-lock-inner.driver": _MERGE.format(verb="merge-lock --inner"),
}
_FALLBACK = re.compile(r"command -v git-datapin \|\| command -v .*? \|\| :\)")
_WITHOUT_FALLBACK = "command -v git-datapin || :)"
# Files that need not exist: Git answers by name.
_ASKED = {"any.dvc": {"diff": "datapin", "merge": "datapin"}, "dvc.lock": {"merge": "datapin-lock"}}


def install_drivers(root: Path) -> InstalledFiles:
    """Name our drivers in `.gitattributes` and say in this clone's settings what they run; safe to repeat."""
    changes = InstalledFiles()
    path = root / ATTRIBUTES
    old = path.read_bytes() if path.exists() else None
    present = {line.strip() for line in (old or b"").decode("utf-8", "surrogateescape").splitlines()}
    missing = [line for line in LINES if line not in present]
    if missing:
        start = (old or b"") + (b"\n" if old and not old.endswith(b"\n") else b"")
        publish_bytes(path, start + "".join(f"{line}\n" for line in missing).encode())
        (changes.created if old is None else changes.changed).append(ATTRIBUTES)
    known = local_settings(root)
    wanted = {name: _with_fallback(value) for name, value in _SETTINGS.items()}
    differing = [name for name, value in wanted.items() if known.get(name) != value]
    for name in differing:
        set_locally(root, name, wanted[name])
    if differing:
        changes.changed.append(_settings_shown(root))
    return changes


def drivers_state(root: Path) -> list[Finding]:
    """What is wrong with our drivers."""
    findings = []
    known = local_settings(root)
    current = {name: _FALLBACK.sub(_WITHOUT_FALLBACK, known.get(name, "")) for name in _SETTINGS}
    if not any(name in known for name in _SETTINGS):
        message = "Git shows and merges pointers as text: this clone does not know datapin's drivers"
        findings.append(Finding("warning", "drivers", _settings_shown(root), message, _INSTALL))
    elif current != _SETTINGS:
        message = "datapin's drivers are another version's, or were changed"
        findings.append(Finding("warning", "drivers", _settings_shown(root), message, _INSTALL))
    for (file, wanted), line in zip(_ASKED.items(), LINES, strict=True):
        seen = attributes(root, file, list(wanted))
        if seen != wanted:
            said = ", ".join(f"{name} is {seen.get(name, '')!r}" for name in wanted if seen.get(name) != wanted[name])
            what = "*.dvc" if file != "dvc.lock" else file
            hint = f"add `{line}` as the last line to {ATTRIBUTES}"
            findings.append(Finding("warning", "drivers", ATTRIBUTES, f"for {what} {said}", hint))
    return findings


def _with_fallback(value: str) -> str:
    """The setting with this installation's command."""
    command = own_command()
    if command is None:
        return value
    quoted = shlex.quote(str(command)).replace("%", "%%") if "%O" in value else shlex.quote(str(command))
    return value.replace(_WITHOUT_FALLBACK, f"command -v git-datapin || command -v {quoted} || :)")


def _settings_shown(root: Path) -> str:
    return shown(root, local_settings_file(root))
