"""`run STAGE`: what dvc.yaml calls."""

from __future__ import annotations

import os
from pathlib import Path

from datapin.base.errors import Usage
from datapin.base.files import make_directory
from datapin.pipeline.context import StageContext, StageReport
from datapin.pipeline.memo import Memo
from datapin.pipeline.stages import augment, featurize, prepare, train
from datapin.verbs.selector import manifest_at
from datapin.verbs.workspace import Workspace

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
        previous_output=lambda dataset: manifest_at(workspace, dataset, "HEAD"),
    )
    match stage:
        case "prepare":
            return prepare.run_prepare(context, params)
        case "augment":
            return augment.run_augment(context, params)
        case "featurize":
            return featurize.run_featurize(context, params)
        case "train":
            return train.run_train(context, params)
        case _:
            raise Usage(f"no stage {stage!r}", f"stages: {', '.join(STAGES)}")
