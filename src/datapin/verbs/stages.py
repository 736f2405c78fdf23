"""`run STAGE`: what dvc.yaml calls."""

from __future__ import annotations

import os
from pathlib import Path

from datapin.base.errors import ManifestMissing, UnknownDataset, UnknownVersion, Usage
from datapin.base.files import make_directory
from datapin.manifest.manifest import Manifest
from datapin.pipeline.context import StageContext, StageReport
from datapin.pipeline.memo import Memo
from datapin.pipeline.stages import augment, featurize, prepare, train
from datapin.verbs.selector import manifest_at
from datapin.verbs.workspace import Workspace
from datapin.versions.git import commit_state

STAGES = ("prepare", "augment", "featurize", "train")


def run(workspace: Workspace, stage: str, params_file: str) -> StageReport:
    """Run one stage with its section of the params file.

    Raises Usage for an unknown stage, BadSettings for impossible parameters.
    """
    params = Path(os.path.normpath(workspace.cwd / params_file))
    make_directory(workspace.scratch)
    context = StageContext(
        root=workspace.root,
        store=workspace.store,
        memo=Memo(workspace.root / ".datapin" / "memo"),
        jobs=workspace.jobs,
        progress=workspace.progress,
        previous_output=lambda dataset: _committed(workspace, dataset),
    )
    match stage:
        case "prepare":
            return prepare.run_prepare(context, params)
        case "augment":
            return augment.run_augment(context, params)
        case "featurize":
            return featurize.run_featurize(context, params)
        case "train":
            return _train(workspace, context, params)
        case _:
            raise Usage(f"no stage {stage!r}", f"stages: {', '.join(STAGES)}")


def _committed(workspace: Workspace, dataset: str) -> Manifest | None:
    try:
        return manifest_at(workspace, dataset, "HEAD")
    except (UnknownDataset, UnknownVersion, ManifestMissing):
        return None


def _train(workspace: Workspace, context: StageContext, params: Path) -> StageReport:
    # The state before the run: the run itself writes files.
    state = commit_state(workspace.root)
    report = train.run_train(context, params)
    train.note_commit(context.root, params, commit=state.commit, dirty=state.is_dirty)
    return report
