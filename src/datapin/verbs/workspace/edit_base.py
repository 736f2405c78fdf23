"""What an edit starts from: the rows that the pointer pins, never others that happen to lie there.

Git moves pointers (pull, checkout, reset, stash, merge); where no hook of ours ran, the rows stay behind. An edit of
such rows would pin them again, and take back what somebody else has committed.
"""

from __future__ import annotations

import shlex

from datapin.base.errors import DatapinError, Refused
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.texts import SUMMARY, has_summary, load_yaml
from datapin.git.ask import blob_at, has_commit
from datapin.pins.held import NO_MANIFEST, held_manifests, is_saved
from datapin.pins.history import is_committed
from datapin.pins.read import Pins
from datapin.verbs.workspace.bring import bring
from datapin.verbs.workspace.placing import replace_manifest
from datapin.verbs.workspace.workspace import Workspace

_ALSO = "or `dvc add {name}` to pin the rows that lie there"


def start_from_pinned_rows(workspace: Workspace, dataset: str, pointer: PinnedOut) -> None:
    """Make sure that what lies at `dataset` is what its pointer pins, or was edited since then; under the edit lock.

    Rows of another version that some commit pins, with no edit of their own, are brought forward, with a note. Raises
    Refused for edited rows under a pointer that was moved, and for a pointer that plain DVC has turned back; what
    `bring` raises if the pinned rows are nowhere. Nothing has changed then.
    """
    refuse_turned_back(workspace, pointer)
    held, cache = held_manifests(workspace.root), DvcCache(workspace.root)
    here = held.find(dataset)
    if here == pointer.md5:
        note_pinned(workspace, dataset, pointer.md5)
        return
    if here == NO_MANIFEST:
        return  # whoever opens it says what is wrong
    if here is not None and not (is_saved(cache, here) and is_committed(workspace.root, dataset, here)):
        if held.was_at(dataset) == pointer.md5:
            return  # edited since it was pinned, by a command that was cut off or by hand: the edit goes on from there
        name = shlex.quote(dataset)
        raise Refused(
            f"{dataset}: its rows were edited, and {pointer.file} pins others since ({pointer.md5[:8]})",
            f"run `datapin restore {name}` to take the pinned rows (a copy of the edits is kept), {_ALSO}".format(
                name=name
            ),
        )
    bring(workspace, [pointer])
    replace_manifest(workspace.root, dataset, cache.shards(pointer))
    note_pinned(workspace, dataset, pointer.md5)
    since = "were not here" if here is None else f"were those of {here[:8]}"
    workspace.progress.note(
        f"{dataset}: brought to the rows that {pointer.file} pins ({pointer.md5[:8]}); they {since}"
    )


def note_pinned(workspace: Workspace, dataset: str, md5: str) -> None:
    """Remember which pinned version the work tree holds: what differs later was edited since."""
    held = held_manifests(workspace.root)
    held.is_at(dataset, md5)
    held.save()


def refuse_turned_back(workspace: Workspace, pointer: PinnedOut) -> None:
    """Raise Refused if DVC itself has pinned older rows over those of HEAD, as `dvc repro` does with rows left behind.

    The summary tells: DVC keeps it and changes the hash beside it. A rollback writes both.
    """
    root = workspace.root
    if pointer.stage is not None or pointer.summary is not None:
        return
    text = (root / pointer.file).read_bytes()
    if not has_summary(text) or not has_commit(root) or blob_at(root, "HEAD", pointer.file) is None:
        return
    try:
        at_head = Pins.at(root, "HEAD").dataset(pointer.dataset)
    except DatapinError:
        return
    if at_head is None or at_head.md5 == pointer.md5 or at_head.md5 not in _pinned_by_us(text, pointer.file):
        return
    if is_committed(root, pointer.dataset, pointer.md5):
        name = shlex.quote(pointer.dataset)
        raise Refused(
            f"{pointer.dataset}: DVC has pinned an older version ({pointer.md5[:8]}) over HEAD's ({at_head.md5[:8]}), "
            "since its rows had stayed behind",
            f"run `git checkout HEAD -- {shlex.quote(pointer.file)} && datapin restore {name}`, "
            f"or `datapin rollback {name} --to ~1` if the older version is meant",
        )


def _pinned_by_us(text: bytes, file: str) -> set[str]:
    outs = load_yaml(text, file).get("outs")
    notes = [out.get("meta") for out in outs if isinstance(out, dict)] if isinstance(outs, list) else []
    ours = [one.get(SUMMARY) for one in notes if isinstance(one, dict)]
    return {str(one.get("for")) for one in ours if isinstance(one, dict)}
