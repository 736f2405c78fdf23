"""What ends a complaint about lost or damaged data: the command, if this repository knows one, else the truth."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import AssetsMissing, DamagedAsset, DamagedManifest, DamagedPack, DatapinError
from datapin.base.errors.world import LOCAL_STORE
from datapin.base.findings import Finding
from datapin.base.progress import SILENT
from datapin.dvcfiles.outs import PinnedOut
from datapin.pins.read import Pins
from datapin.verbs.workspace.place import remote_name, remote_place
from datapin.verbs.workspace.problems import dataset_problem
from datapin.verbs.workspace.selector import work_tree_manifest
from datapin.verbs.workspace.workspace import Workspace

_MOST_NAMED = 3
_DEEP, _SHARDS = "deep.assets", "pins.shards"
_LOST, _SIZE = " is lost: ", "says size "  # as deep.assets words it: the remote was asked, or the bytes are well

_Rows = tuple[PinnedOut, pa.Table]


@dataclass(frozen=True, slots=True)
class _Holder:
    """A dataset of the work tree that needs some assets, and the keys of these rows."""

    pointer: PinnedOut
    keys: list[str]

    def again(self, root: Path) -> str:
        """The command that makes these assets anew from what is on this machine; empty if nothing is known."""
        tops = [root / source for source in self.pointer.sources]
        is_there = any((top / key).is_file() for top in tops for key in self.keys[:_MOST_NAMED])
        return _made_again(root, self.pointer) if is_there or self.pointer.stage is not None else ""


def _made_again(root: Path, pointer: PinnedOut) -> str:
    """The command that makes a dataset anew; empty if neither a stage nor a source tree that is here does."""
    name = shlex.quote(pointer.dataset)
    if pointer.stage is not None:
        return f"`dvc repro --force {name}`"
    sources = [source for source in pointer.sources if (root / source).exists()]
    return f"`datapin add {shlex.join(sources)} --to {name}`" if sources else ""


def hint_here(error: DatapinError) -> str:
    """As `hint_for`, in the repository around the current folder."""
    return hint_for(Workspace.find(Path.cwd(), progress=SILENT), error)


def hint_for(workspace: Workspace, error: DatapinError) -> str:
    """What to say after this error."""
    if isinstance(error, DamagedAsset):
        is_there = "://" in error.where or error.where.startswith("/")  # in a place with a name, not in the store
        return _about_assets(workspace, [error.asset_id], error.hint, is_asked=is_there)
    if isinstance(error, AssetsMissing):
        return _about_assets(workspace, error.names, error.hint, is_asked=error.where != LOCAL_STORE)
    if isinstance(error, DamagedManifest):
        for pointer in Pins(workspace.root).datasets:
            if error.path == pointer.dataset or error.path.startswith(f"{pointer.dataset}/"):
                return dataset_problem(workspace, pointer.dataset, pointer, error).hint
    has_remote = remote_name(workspace) is not None
    if isinstance(error, DamagedPack) and has_remote and error.path.startswith(remote_place(workspace).root.url):
        return "run `datapin push --all-versions --again` where the data is"
    return error.hint


def _heal(workspace: Workspace, rows: Sequence[_Rows], dataset: str, keys: Sequence[str], *, is_asked: bool) -> str:
    wanted = pa.array(list(keys), pa.string())
    named = [table for pointer, table in rows if pointer.dataset == dataset]
    ids = [one for table in named for one in table["asset_id"].filter(pc.is_in(table["key"], value_set=wanted))]
    return _ways(workspace, list(_holders(rows, [one.as_py() for one in ids])), is_asked=is_asked)


def _heal_rows(workspace: Workspace, dataset: str) -> str:
    """What brings good rows of a damaged manifest; it may be DVC's cache that is damaged, and not the work tree."""
    pointer = Pins(workspace.root).dataset(dataset)
    try:
        work_tree_manifest(workspace, dataset).verify()
    except DatapinError as error:
        return dataset_problem(workspace, dataset, pointer, error).hint
    return f"run `datapin restore {shlex.quote(dataset)}`"


def with_ways(workspace: Workspace, findings: Sequence[Finding]) -> list[Finding]:
    """The findings on the work tree, those on lost or damaged assets with what heals these."""
    found, rows = [], None
    for one in findings:
        dataset, _, key = one.where.partition(":")
        way = ""
        if one.severity != "error":
            pass
        elif one.check == _DEEP and key and _SIZE not in one.message:
            rows = _rows_here(workspace) if rows is None else rows
            way = _heal(workspace, rows, dataset, [key], is_asked=_LOST in one.message)
        elif one.check == _SHARDS:
            way = _heal_rows(workspace, dataset)
        found.append(replace(one, hint=way) if way else one)
    return found


def heal_store(workspace: Workspace) -> str:
    """What ends the complaints of a store's check: the index is put right, then what is lost comes back."""
    first = "run `datapin rebuild-index`"
    if remote_name(workspace) is not None:
        return f"{first}, then `datapin fetch`"
    again = [way for one in Pins(workspace.root).datasets if (way := _made_again(workspace.root, one))]
    return f"{first}, then {', '.join(again)}" if again else f"{first}, then `datapin status` says what is lost"


def _about_assets(workspace: Workspace, names: Sequence[str], otherwise: str, *, is_asked: bool) -> str:
    return _ways(workspace, list(_holders(_rows_here(workspace), names)), is_asked=is_asked) or otherwise


def _ways(workspace: Workspace, holders: Sequence[_Holder], *, is_asked: bool) -> str:
    """`is_asked` if the remote was, and has no good copy."""
    if not holders:
        return ""
    names = " ".join(shlex.quote(one.pointer.dataset) for one in holders[:_MOST_NAMED])
    ways = [f"`datapin fetch {names}`"] if remote_name(workspace) is not None and not is_asked else []
    # A stage passes on the assets of its input: where a source has them, running the stage makes nothing anew.
    makers = [one for one in holders if one.pointer.stage is None] or holders
    ways += dict.fromkeys(filter(None, (one.again(workspace.root) for one in makers)))
    if ways:
        return f"run {', or '.join(ways)}"
    first = makers[0]
    where = " OR ".join("key = '{}'".format(key.replace("'", "''")) for key in first.keys[:_MOST_NAMED])
    remove = f"`datapin remove {shlex.quote(first.pointer.dataset)} --where {shlex.quote(where)}`"
    push = f"`datapin push {shlex.quote(first.pointer.dataset)} --all-versions --again`"
    return f"no good copy is known: who has one runs {push}; or take the rows out with {remove}"


def _rows_here(workspace: Workspace) -> list[_Rows]:
    """Keys and ids of every dataset of the work tree that can be read."""
    rows = []
    for pointer in Pins(workspace.root).datasets:
        with suppress(DatapinError):
            table = work_tree_manifest(workspace, pointer.dataset).to_table(columns=["key", "asset_id"])
            rows.append((pointer, table))
    return rows


def _holders(rows: Sequence[_Rows], names: Sequence[str]) -> Iterator[_Holder]:
    """The datasets with rows of these assets, named by id or by key."""
    wanted = pa.array(list(names), pa.string())
    for pointer, table in rows:
        hit = pc.or_(pc.is_in(table["asset_id"], value_set=wanted), pc.is_in(table["key"], value_set=wanted))
        keys = table["key"].filter(hit).slice(0, _MOST_NAMED).to_pylist()
        if keys:
            yield _Holder(pointer, keys)
