"""Stage train: features in; a model, its metrics, plots, predictions and the run record out.

Everything is computed before anything is written, see training/outputs.py.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datapin.base.errors import BadSettings, ModelRefused, listed
from datapin.base.findings import Finding
from datapin.pipeline.mapping.context import StageContext, StageReport
from datapin.pipeline.params.params import read_params, read_params_file
from datapin.pipeline.params.train_params import DEFAULT_ESTIMATOR, TrainParams
from datapin.pipeline.record.fingerprint import report_json
from datapin.pipeline.record.record import RECORD, STAGES, TrainRun, write_commit_note
from datapin.pipeline.training import estimators
from datapin.pipeline.training.evaluation import evaluate_classes, evaluate_numbers
from datapin.pipeline.training.model_file import dump_model, read_model
from datapin.pipeline.training.outputs import PLOTS, write_run
from datapin.pipeline.training.stopping import Watch
from datapin.pipeline.training.tasks import evaluate_labels
from datapin.pipeline.training.training_rows import (
    TrainingRows,
    class_flags,
    class_index,
    fit_weights,
    read_training_rows,
)

SECTION = "train"


def run_train(context: StageContext, params_path: Path) -> StageReport:
    """Fit the estimator that `params_path` names on the features, measure it, and write everything it left.

    Raises BadSettings for impossible params, StageRefused for rows it cannot learn from; then nothing was written.
    """
    params = read_params(params_path, SECTION, TrainParams)
    _check_places(params, params_path.name)
    pipeline = estimators.build_pipeline(params, params_path.name)
    wants_numbers = not estimators.is_classifier(pipeline)
    rows = read_training_rows(context, params, wants_numbers=wants_numbers)
    classes = () if wants_numbers else class_index(rows)
    fitted = _fit(context, params, params_path.name, pipeline, rows)
    # Measured is the model as the file holds it, which is how everybody else will read it.
    model, reread = _checked_model(fitted.pipeline, params, params_path.name)
    if wants_numbers:
        evaluation = evaluate_numbers(reread, rows, params)
    elif rows.has_several:
        evaluation = evaluate_labels(reread, rows, params, classes)
    else:
        evaluation = evaluate_classes(reread, rows, params, classes)
    outputs = {
        params.model: model,
        f"{params.reports}/metrics.json": report_json(evaluation.metrics),
        f"{params.reports}/predictions.parquet": evaluation.predictions,
        **{f"{params.reports}/{PLOTS}/{name}": data for name, data in evaluation.plots.items()},
    }
    sections = read_params_file(params_path)
    run = TrainRun(
        input=params.input,
        inputs=rows.inputs,
        params={name: sections[name] for name in STAGES if name in sections},
        seed=params.seed,
        task="regression" if wants_numbers else "multilabel" if rows.has_several else "classification",
        classes=classes,
        rows=_row_counts(rows, params),
        columns=rows.features.shape[1],
        estimator=estimators.described_params(reread),
        metrics=evaluation.metrics,
        model=params.model,
        stopped=None if fitted.stopped is None else asdict(fitted.stopped),
    )
    hashes = write_run(context.root, run, outputs, params.reports)
    findings = _findings(params, fitted)
    if not evaluation.metrics:
        message = f"no rows in {listed(params.evaluate) or 'any split'}, so the model was not measured"
        findings.append(Finding("warning", "no-evaluation", params.input, message, "give prepare a val or test share"))
    return StageReport(
        stage=SECTION,
        rows=len(rows.keys),
        computed=len(rows.keys),
        reused=0,
        dropped=0,
        findings=tuple(findings),
        digest=hashes[params.model],
    )


def note_commit(root: Path, params_path: Path, *, commit: str | None, dirty: bool) -> Path:
    """Write, beside the run record of a finished train, the commit it ran on. The path of the note."""
    params = read_params(params_path, SECTION, TrainParams)
    return write_commit_note(root / params.reports / RECORD, commit=commit, dirty=dirty)


def _findings(params: TrainParams, fitted: estimators.Fitted) -> list[Finding]:
    findings = [Finding("warning", "fit", params.estimator, text) for text in fitted.warnings]
    if (stopped := fitted.stopped) is not None:
        message = f"kept round {stopped.rounds} of {stopped.tried}: loss {stopped.loss:g} on {stopped.split}"
        findings.append(Finding("note", "early-stopping", params.estimator, message))
    elif estimators.sets_rows_aside(fitted.pipeline):
        message = "stops early on rows set aside by chance, whose copies it learns from"
        advice = "set train.early_stopping: {}, which watches the split val"
        findings.append(Finding("warning", "own-validation", params.estimator, message, advice))
    return findings


def _fit(
    context: StageContext, params: TrainParams, params_name: str, pipeline: Any, rows: TrainingRows
) -> estimators.Fitted:
    features = rows.features[rows.is_fit]
    labels = _targets(rows)
    most = min(features.shape)
    if params.pca != "none" and params.pca > most:
        problem = f"{params.pca} components of {features.shape[1]} features in {features.shape[0]} rows, at most {most}"
        raise BadSettings(path=params_name, where="train.pca", problem=problem)
    watch = None
    if params.early_stopping is not None:
        places = rows.of_split(params.early_stopping.split)
        if not len(places):
            problem = f"{params.input} has no rows with split = {params.early_stopping.split!r} to watch"
            raise BadSettings(params_name, "train.early_stopping.split", problem, "give prepare such a share")
        watch = Watch(params.early_stopping, params.seed, rows.features[places], labels[places])
    learnt = labels[rows.is_fit]
    weights = fit_weights(rows, params, params_name)
    with context.progress.bar("train", len(learnt), "row") as bar:
        fitted = estimators.fit(pipeline, features, learnt, params_name, weights=weights, stopping=watch)
        bar.advance(len(learnt))
    return fitted


def _targets(rows: TrainingRows) -> npt.NDArray[Any]:
    """What an estimator is to say of each row: texts or numbers [n], or flags [n, classes] of several labels."""
    if rows.has_several:
        return class_flags(rows.labels, class_index(rows)).astype(np.int64)
    labels: npt.NDArray[Any] = rows.labels.to_numpy(zero_copy_only=False)
    return labels.astype(str) if labels.dtype == object else labels


def _checked_model(pipeline: Any, params: TrainParams, params_name: str) -> tuple[bytes, Any]:
    try:
        data = dump_model(pipeline)
        return data, read_model(data, name=params.model)
    except ModelRefused as error:
        problem = f"{params.estimator} cannot be saved safely: it keeps {', '.join(error.types)}"
        advice = f"choose another estimator, for example {DEFAULT_ESTIMATOR}"
        raise BadSettings(path=params_name, where="train.estimator", problem=problem, advice=advice) from None


def _row_counts(rows: TrainingRows, params: TrainParams) -> dict[str, int]:
    return {
        "fit": int((rows.is_fit & ~rows.is_derived).sum()),
        "fit_augmented": int((rows.is_fit & rows.is_derived).sum()),
        **{split: len(rows.of_split(split)) for split in params.evaluate},
    }


def _check_places(params: TrainParams, params_name: str) -> None:
    for name, path in (("model", params.model), ("reports", params.reports)):
        if f"{path}/".startswith(f"{params.input}/") or f"{params.input}/".startswith(f"{path}/"):
            problem = f"{path} and the input {params.input} overlap, expected a place of its own"
            raise BadSettings(path=params_name, where=f"{SECTION}.{name}", problem=problem)
