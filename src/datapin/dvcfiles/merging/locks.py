"""Two people's `dvc.lock` merged stage by stage, since Git's lines mix the hashes of one run with those of another.

A stage that one side changed is taken from it. One that both changed differently is left out: `dvc repro` runs it, or
takes it from the run cache, and writes its entry again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from datapin.base.documents import read_yaml_to_edit, write_yaml
from datapin.base.errors import Refused
from datapin.dvcfiles.texts import load_yaml

_FORMAT = "2.0"


@dataclass(frozen=True, slots=True)
class LockMerge:
    """The merged text, and the stages that were left out, sorted."""

    text: str
    dropped: tuple[str, ...]


def merge_locks(base: bytes, ours: bytes, theirs: bytes, file: str) -> LockMerge:
    """The merge of two versions of the `dvc.lock` named `file`; the same text whichever side is called ours.

    `base` is empty if there was no file. Raises BadSettings or Refused for text that cannot be read, and Refused where
    the sides differ in what no stage makes again: the format, or a locked dataset of DVC's.
    """
    documents = [_checked(text, file) for text in (base, ours, theirs)]
    if documents[1].get("schema", _FORMAT) != documents[2].get("schema", _FORMAT):
        raise Refused(f"{file} is in another format on each side", "run `dvc repro` on one side, then merge again")
    stages, dropped = _merged(*(document.get("stages") or {} for document in documents))
    datasets, undecided = _merged(*(_by_name(document.get("datasets") or ()) for document in documents))
    if undecided:
        names = ", ".join(undecided)
        raise Refused(
            f"{file}: both sides updated {names}",
            f"choose one text, then run `dvc ds update {shlex.quote(undecided[0])}`",
        )
    merged: dict[str, Any] = {"schema": documents[1].get("schema", _FORMAT), "stages": stages}
    if datasets:
        merged["datasets"] = list(datasets.values())
    known = {"schema", "stages", "datasets"}
    others, undecided = _merged(*({k: v for k, v in one.items() if k not in known} for one in documents))
    if undecided:
        raise Refused(f"{file}: both sides changed {', '.join(undecided)}", "choose one text")
    return LockMerge(write_yaml({**merged, **others}), tuple(dropped))


def _checked(text: bytes, file: str) -> dict[str, Any]:
    """The document, in the form that keeps its order and comments; read safely first, within bounds."""
    if not load_yaml(text, file):
        return {}
    document: dict[str, Any] = read_yaml_to_edit(text, file)
    stages = document.get("stages")
    if not isinstance(stages, Mapping | None):
        raise Refused(f"{file}: stages is not a mapping", "choose one text")
    return document


def _by_name(datasets: Iterable[Any]) -> dict[str, Any]:
    return {str(one.get("name")) if isinstance(one, Mapping) else str(one): one for one in datasets}


def _merged(
    base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """What both agree on or one changed: in the order of `base`, new names sorted after it. And what is left out."""
    merged: dict[str, Any] = {}
    undecided = []
    added = sorted({*ours, *theirs} - set(base))
    for name in (*base, *added):
        was, one, other = base.get(name), ours.get(name), theirs.get(name)
        if one != other and was not in (one, other):
            undecided.append(name)
            continue
        value = other if one == was else one
        if value is not None:
            merged[name] = value
    return merged, sorted(undecided)
