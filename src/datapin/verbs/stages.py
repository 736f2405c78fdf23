"""`run STAGE`: what dvc.yaml calls."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from datapin.arguments import Named, Page
from datapin.base.errors import AssetsMissing, ManifestMissing, Refused, UnknownDataset, UnknownVersion, Usage
from datapin.base.files import make_directory
from datapin.base.id_columns import ids_from_hex
from datapin.dvcfiles.cache import DvcCache
from datapin.git.ask import commit_state
from datapin.manifest.manifest import Manifest
from datapin.pins.held import NO_MANIFEST, held_manifests
from datapin.pins.history import is_committed
from datapin.pins.read import Pins
from datapin.pipeline.mapping.context import StageContext, StageReport
from datapin.pipeline.mapping.engines.dask import DaskEngines
from datapin.pipeline.mapping.engines.engine import Engine
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.params.params import read_params
from datapin.pipeline.params.stages import (
    AugmentParams,
    FeaturizeParams,
    PrepareParams,
    UserFunctionParams,
    refuse_other_kinds,
)
from datapin.pipeline.stages import augment, featurize, prepare, train
from datapin.verbs.workspace.edit_base import refuse_turned_back
from datapin.verbs.workspace.presence import ensure_here
from datapin.verbs.workspace.selector import manifest_at, work_tree_manifest
from datapin.verbs.workspace.workspace import Workspace

STAGES = ("prepare", "augment", "featurize", "train")
MOST_PREVIEWED = 200


def run(
    workspace: Workspace,
    stage: str,
    params_file: str,
    engine: str | None = None,
    preview: Page | None = None,
) -> StageReport:
    """Run one stage with its section of the params file, its map on an engine (`engines_named`).

    With `preview`, augment only shows the first copies of so many rows on a page that it writes there.
    Raises Usage for an unknown stage or engine, BadSettings for impossible parameters.
    """
    if preview is not None and (stage != augment.STAGE or not 1 <= preview[0] <= MOST_PREVIEWED):
        raise Usage(
            f"a preview shows 1 to {MOST_PREVIEWED} rows of augment, seen {preview[0]} of {stage}",
            "datapin run augment --preview 10 preview.html",
        )
    params = Path(os.path.normpath(workspace.cwd / params_file))
    make_directory(workspace.scratch)
    for pointer in workspace.pins().datasets:
        DvcCache(workspace.root).keep(pointer.md5)  # what DVC has cached since the last stage ran
    if preview is not None:
        return _preview(workspace, params, *preview)
    with engines_named(workspace, engine) as engines:
        return _run(workspace, stage, params, replace(stage_context(workspace), engines=engines))


def _preview(workspace: Workspace, params_file: Path, count: int, page: Named) -> StageReport:
    # Late: pictures (decision 0015).
    from datapin.pipeline.stages.preview import preview
    from datapin.verbs.history.page.preview_page import write_preview_page

    params = read_params(params_file, augment.STAGE, AugmentParams)
    refuse_other_kinds(params_file, augment.STAGE, params.input, [params.kind])
    what = f"preview of {params.input}"
    context = stage_context(workspace)
    rows = preview(context, params, count, lambda ids: ensure_here(workspace, ids, what=what))
    used = params.model_dump(include={"operators"}, exclude_none=True)["operators"]
    operators = [" ".join([name, *(f"{key}={value}" for key, value in given.items())]) for name, given in used.items()]
    write_preview_page(workspace.cwd / page, params.input, operators, rows)
    return StageReport(augment.STAGE, len(rows), len(rows), 0, 0, (), "")


@contextmanager
def engines_named(workspace: Workspace, text: str | None) -> Iterator[Callable[[bool], Engine] | None]:
    """What makes the engine that is called so: `local`, `dask`, or `dask:ADDRESS`; None: as the settings say.

    The result does not depend on it, hence it is no parameter of a stage. Raises Usage for another name.
    """
    settings = workspace.settings.engine
    chosen = settings.text if text is None else text
    kind, _, address = chosen.partition(":")
    if kind == "local" and not address:
        yield None
    elif kind == "dask":
        engines = DaskEngines(address or None, workspace.jobs)
        try:
            yield engines
        finally:
            engines.close()
    else:
        raise Usage(f"no engine {chosen!r}", "engines: local, dask, dask:tcp://HOST:PORT")


def _run(workspace: Workspace, stage: str, params: Path, context: StageContext) -> StageReport:
    match stage:
        case "prepare":
            preparing = read_params(params, stage, PrepareParams)
            _bring_input(workspace, stage, preparing.input)
            return prepare.prepare(context, preparing)
        case "augment":
            augmenting = read_params(params, stage, AugmentParams)
            refuse_other_kinds(params, stage, augmenting.input, [augmenting.kind])
            if augmenting.mode != "online":  # a recipe needs no images; who reads with it fetches them
                _bring_input(workspace, stage, augmenting.input)
            return augment.augment(context, augmenting, read_params(params, "prepare", PrepareParams))
        case "featurize":
            featurizing = read_params(params, stage, FeaturizeParams)
            built_in = [one for one in featurizing.extract if not isinstance(one, UserFunctionParams)]
            refuse_other_kinds(params, stage, featurizing.input, [one.KIND for one in built_in])
            _bring_input(workspace, stage, featurizing.input)
            return featurize.featurize(context, featurizing)
        case "train":
            return _train(workspace, context, params)
        case _:
            raise Usage(f"no stage {stage!r}", f"stages: {', '.join(STAGES)}")


def stage_context(workspace: Workspace) -> StageContext:
    """The surroundings of a stage in this repository."""
    return StageContext(
        root=workspace.root,
        store=workspace.store,
        memo=Memo(workspace.state.memo),
        jobs=workspace.jobs,
        progress=workspace.progress,
        previous_output=lambda dataset: _committed(workspace, dataset),
    )


def _bring_input(workspace: Workspace, stage: str, dataset: str) -> None:
    """Fetch what the stage may read and is not here: in a fresh clone, everything."""
    if not workspace.dataset_path(dataset).is_dir():
        return  # the stage says so
    _refuse_other_rows(workspace, dataset)
    ids = ids_from_hex(work_tree_manifest(workspace, dataset).to_table(columns=["asset_id"])["asset_id"])
    try:
        ensure_here(workspace, ids, what=f"{stage} of {dataset}")
    except AssetsMissing as error:
        # Not an error yet: the stage reads only what no earlier run has remembered, and names the rows it lacks.
        workspace.progress.note(error.message)


def _refuse_other_rows(workspace: Workspace, dataset: str) -> None:
    """A stage reads the rows that a pointer pins; DVC has noted by now what it depends on, too late to bring any."""
    pointer = Pins(workspace.root).dataset(dataset)
    if pointer is None or pointer.stage is not None:
        return
    refuse_turned_back(workspace, pointer)
    here = held_manifests(workspace.root).find(dataset)
    if here not in (None, NO_MANIFEST, pointer.md5) and is_committed(workspace.root, dataset, here):
        raise Refused(
            f"{dataset} holds the rows of an older version ({here[:8]}), {pointer.file} pins {pointer.md5[:8]}",
            f"run `datapin restore {shlex.quote(dataset)}`",
        )


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
