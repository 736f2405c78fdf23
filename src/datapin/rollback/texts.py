"""The texts that a rollback writes where an old one does not fit as it is: a stage's entry, a frozen stage, a name."""

from __future__ import annotations

import copy
import posixpath
import re
from typing import Any

from datapin.base.documents import read_yaml_to_edit, write_yaml
from datapin.base.errors import BadSettings, Refused
from datapin.dvcfiles.texts import load_yaml

_STAGE_LINE = re.compile(r"  (?! )(.+):\s*\Z")
_PATH_LINE = re.compile(r"^(  path: ).*$", re.MULTILINE)


def with_stage_entry(text: bytes | None, old_text: bytes, stage: str, file: str) -> bytes:
    """The `dvc.lock` `text` with the entry that `stage` has in `old_text`; everything else keeps its bytes.

    Raises BadSettings, Refused for text that cannot be read.
    """
    entry = load_yaml(old_text, file)["stages"][stage]
    if text is None:
        wanted: dict[str, Any] = {"schema": "2.0", "stages": {stage: entry}}
        return _written(wanted)
    wanted = load_yaml(text, file)
    wanted["stages"] = {**(wanted.get("stages") or {}), stage: entry}
    lines, old_lines = _lines(text), _lines(old_text)
    block = _block(old_lines, stage)
    place = _block(lines, stage)
    if block is not None:
        start, end = place or (len(lines), len(lines))
        candidate = "".join([*lines[:start], *old_lines[slice(*block)], *lines[end:]]).encode()
        if _says(candidate, wanted, file):
            return candidate
    return _written(wanted)


def with_frozen_stage(text: bytes, stage: str, file: str) -> bytes:
    """The `dvc.yaml` `text` with `frozen: true` in `stage`, as `dvc freeze` leaves it; comments and order stay.

    Raises Refused if the pipeline has no such stage of its own.
    """
    document = load_yaml(text, file)
    stages = document.get("stages")
    body = stages.get(stage) if isinstance(stages, dict) else None
    if not isinstance(body, dict) or "cmd" not in body:
        raise Refused(
            f"{file} has no stage {stage} of its own that could be frozen",
            "roll back its inputs and run `dvc repro`, or check out the commit",
        )
    if body.get("frozen") is True:
        return text
    wanted = copy.deepcopy(document)
    wanted["stages"][stage]["frozen"] = True
    form = read_yaml_to_edit(text, "the file")
    place = form["stages"][stage].lc
    if "frozen" not in body:
        line, column = place.key(next(iter(body)))
        lines = _lines(text)
        candidate = "".join([*lines[:line], f"{' ' * column}frozen: true\n", *lines[line:]]).encode()
        if _says(candidate, wanted, file):
            return candidate
    form["stages"][stage]["frozen"] = True
    return _written(form)


def under_name(text: bytes, file: str, dataset: str) -> bytes:
    """The text of the `.dvc` file `file`, which pins one output beside it, for the dataset's name of today.

    Raises Refused if it says more than that.
    """
    document = load_yaml(text, file)
    wanted = copy.deepcopy(document)
    outs = wanted.get("outs")
    if isinstance(outs, list) and len(outs) == 1 and "wdir" not in document:
        outs[0]["path"] = posixpath.basename(dataset)
        words = text.decode("utf-8")
        candidate = _PATH_LINE.sub(lambda found: f"{found[1]}{outs[0]['path']}", words, count=1).encode()
        if _says(candidate, wanted, file):
            return candidate
    raise Refused(
        f"{dataset} was pinned by {file} then, whose text does not fit its name of today",
        f"run `git show` on {file} of that commit and take over what you need",
    )


def _lines(text: bytes) -> list[str]:
    return text.decode("utf-8").splitlines(keepends=True)


def _block(lines: list[str], stage: str) -> tuple[int, int] | None:
    """The lines of one stage in a `dvc.lock` as DVC writes it."""
    starts = [number for number, line in enumerate(lines) if _STAGE_LINE.match(line)]
    names = {f"{stage}:", f"'{stage}':", f'"{stage}":'}
    named = [number for number in starts if lines[number].strip() in names]
    if len(named) != 1:
        return None
    start = named[0]
    end = next((n for n in range(start + 1, len(lines)) if lines[n].strip() and not lines[n].startswith("   ")), None)
    return start, len(lines) if end is None else end


def _says(text: bytes, wanted: dict[str, Any], file: str) -> bool:
    try:
        return load_yaml(text, file) == wanted
    except (BadSettings, Refused):
        return False


def _written(document: Any) -> bytes:
    """As DVC writes its own files."""
    return write_yaml(document).encode()
