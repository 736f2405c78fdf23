"""Whether a dataset can lie where the user wants it: asked before anything is read or moved."""

from __future__ import annotations

import os
import shlex
from pathlib import PurePosixPath

from datapin.base.errors import Refused, Usage
from datapin.dvcfiles.tracking.overlaps import other_outputs
from datapin.git.index import ignoring_patterns, is_tracked
from datapin.manifest.dataset_names import dataset_problem, folded_name
from datapin.pins.read import Pins
from datapin.verbs.workspace.workspace import Workspace

_ANOTHER = "name another folder with --to, for example data/raw"


def dataset_to_write(workspace: Workspace, text: str, pins: Pins) -> str:
    """The dataset that `text` names, there or to be made; `pins` are those of the work tree.

    Raises Usage for a name that a new dataset must not have, Refused for a place where DVC or Git would not pin it.
    """
    dataset = workspace.dataset_name(text, new=True)
    if os.path.isfile(workspace.root / f"{dataset}.dvc"):
        if pins.own(dataset) is None:
            raise Refused(f"{dataset}.dvc pins something else than a folder {dataset}", _ANOTHER)
        return dataset  # a name that a history holds stays
    problem = dataset_problem(dataset)
    if problem is not None:
        raise Usage(f"{text!r} cannot be a dataset: its name {problem}", "name a folder such as data/raw")
    refuse_odd_place(workspace, dataset)
    _refuse_overlap(workspace, dataset, pins)
    _refuse_git(workspace, dataset)
    return dataset


def refuse_odd_place(workspace: Workspace, dataset: str) -> None:
    """Raise Refused for a dataset behind a link or in another repository: DVC would pin it nowhere, or elsewhere."""
    parts = PurePosixPath(dataset).parts
    for count, _ in enumerate(parts, 1):
        path = workspace.root.joinpath(*parts[:count])
        name = "/".join(parts[:count])
        if path.is_symlink():
            raise Refused(
                f"{name} is a symbolic link, and DVC pins nothing through links: {dataset} cannot lie there",
                f"put a folder in its place (`rm {shlex.quote(name)}`, then `mkdir`), or {_ANOTHER}",
            )
        if count < len(parts) and path.exists() and not path.is_dir():
            raise Refused(f"{name} is a file: {dataset} cannot lie below it", _ANOTHER)
        if (path / ".git").exists() or (path / ".dvc").is_dir():
            raise Refused(f"{name} is a repository of its own: {dataset} would be pinned there", f"run it in {name}")
    pointer = workspace.root / f"{dataset}.dvc"
    if pointer.is_symlink() or pointer.is_dir():
        what, name = "a symbolic link" if pointer.is_symlink() else "a folder", shlex.quote(f"{dataset}.dvc")
        raise Refused(
            f"{dataset}.dvc is {what}, expected the pointer file of {dataset}",
            f"put it right with `mv {name} {name}.old && git checkout -- {name}`, or {_ANOTHER}",
        )


def _refuse_overlap(workspace: Workspace, dataset: str, pins: Pins) -> None:
    mine = folded_name(dataset)
    for file, path in other_outputs(workspace.root, dataset, pins.files):
        if path is None or not path.startswith(f"{workspace.root}/"):
            continue
        output = path.removeprefix(f"{workspace.root}/")
        other = folded_name(output)
        is_stage = not file.endswith(".dvc")
        if output == dataset and is_stage:
            continue  # told with the right advice by whoever edits
        if mine == other:
            how = "is pinned" if output == dataset else "differs only in case or form from what is pinned"
            raise Refused(f"{dataset} {how} by {file}: {output}", _ANOTHER)
        for inner, outer in ((mine, other), (other, mine)):
            if inner.startswith(f"{outer}/"):
                where = "below" if inner == mine else "above"
                raise Refused(
                    f"{dataset} lies {where} {output}, which {file} pins; one cannot hold the other", _ANOTHER
                )


def _refuse_git(workspace: Workspace, dataset: str) -> None:
    name = shlex.quote(dataset)
    patterns = ignoring_patterns(workspace.root, [f"{dataset}.dvc"])
    if patterns and patterns[0] and not patterns[0].startswith("!"):
        raise Refused(
            f"Git ignores {dataset}.dvc (by the pattern {patterns[0]!r}), so no commit could pin the dataset",
            f"see `git check-ignore -v --no-index {name}.dvc`, and take the pattern out; or {_ANOTHER}",
        )
    if is_tracked(workspace.root, dataset):
        raise Refused(
            f"Git tracks {dataset} itself, and DVC pins nothing that Git tracks",
            f"run `git rm -r --cached {name}` and commit, or {_ANOTHER}",
        )
