"""`environment.json` beside a run record: on what machine its outputs were made.

Git tracks it and no pin covers it, and it is written only for outputs that it does not know yet. So a colleague's
machine that makes the same bytes leaves the tree clean (docs/decisions/0027).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datapin.base.documents import read_json
from datapin.pipeline.record.fingerprint import report_json

ENVIRONMENT = "environment.json"
_FORMAT = 1
# What DVC's run cache brings back was made some trainings ago, and is not told of anew.
_MOST_OUTPUTS = 50
_MOST_BYTES = 1 << 20


def environment_path(record: str) -> str:
    """The path of the file that tells of the run record at the path `record`."""
    return posixpath.join(posixpath.dirname(record), ENVIRONMENT)


def environment_of(record: Mapping[str, Any], beside: bytes | None) -> dict[str, Any] | None:
    """Where the outputs of a run record were made, None if nobody tells; `beside` is the file with the environments.

    Records of datapin's first versions tell it themselves.
    """
    wanted = _outputs_id(record.get("outputs"))
    for environment, ids in _environments(beside):
        if wanted in ids:
            return environment
    own = record.get("environment")
    return dict(own) if isinstance(own, dict) else None


def with_environment(beside: bytes | None, outputs: Mapping[str, str], here: Mapping[str, Any]) -> bytes | None:
    """The file's bytes with these outputs (SHA-256 by path) as made `here`; None if it tells of them already."""
    new = _outputs_id(outputs)
    known = list(_environments(beside))
    if any(new in ids for _, ids in known):
        return None
    mine = next((ids for environment, ids in known if environment == here), [])
    others = [one for one in known if one[1] is not mine]
    runs, room = [(dict(here), [*mine, new][-_MOST_OUTPUTS:])], _MOST_OUTPUTS - len(mine) - 1
    for environment, ids in reversed(others):  # the newest are the last
        if room > 0:
            runs.insert(0, (environment, ids[-room:]))
            room -= len(ids)
    made = [{"environment": environment, "outputs": ids} for environment, ids in runs]
    return report_json({"format": _FORMAT, "made": made})


def read_environments(path: Path) -> bytes | None:
    """The bytes of the file in the work tree, None if there is none that could be one."""
    try:
        seen = path.stat()
        return path.read_bytes() if stat.S_ISREG(seen.st_mode) and seen.st_size <= _MOST_BYTES else None
    except OSError:
        return None


def _environments(data: bytes | None) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each environment and the outputs that were made there; nothing of what is no such file, as after a conflict."""
    try:
        document = read_json(data, "environment.json", most_bytes=_MOST_BYTES) if data else None
    except ValueError:
        return
    made = document.get("made") if isinstance(document, dict) and document.get("format") == _FORMAT else None
    for one in made if isinstance(made, list) else ():
        environment, ids = (one.get("environment"), one.get("outputs")) if isinstance(one, dict) else (None, None)
        if isinstance(environment, dict) and isinstance(ids, list):
            yield environment, [text for text in ids if isinstance(text, str)]


def _outputs_id(outputs: object) -> str:
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()
