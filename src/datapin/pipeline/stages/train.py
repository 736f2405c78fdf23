"""Stage train: features in; a model, its metrics, plots, predictions and the run record out.

Everything is computed before anything is written. The run record disappears first and comes back last, so where there
is one, every file it names is there and is the one it names; a killed train leaves old or new files, never halves.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapin.base import failpoints
from datapin.base.errors import BadSettings, ModelRefused, StorageFailed, listed
from datapin.base.files import (
    fsync_directory,
    lock,
    make_directory,
    publish_file,
    sweep_temporaries,
    temporary_name,
    write_all,
)
from datapin.base.findings import Finding
from datapin.base.state import state_of
from datapin.pipeline.mapping.context import StageContext, StageReport
from datapin.pipeline.params.params import read_params, read_params_file
from datapin.pipeline.params.train_params import DEFAULT_ESTIMATOR, TrainParams
from datapin.pipeline.record.environment_file import environment_path, read_environments, with_environment
from datapin.pipeline.record.fingerprint import report_json
from datapin.pipeline.record.record import (
    RECORD,
    STAGES,
    TrainRun,
    describe_environment,
    encode_record,
    write_commit_note,
)
from datapin.pipeline.training import estimators
from datapin.pipeline.training.evaluation import evaluate_classes, evaluate_numbers
from datapin.pipeline.training.model_file import dump_model, read_model
from datapin.pipeline.training.plots import PLOT_FILES
from datapin.pipeline.training.training_rows import TrainingRows, class_index, read_training_rows

SECTION = "train"
PLOTS = "plots"
_LOCK_TIMEOUT_S = 60.0


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
    evaluation = (
        evaluate_numbers(reread, rows, params) if wants_numbers else evaluate_classes(reread, rows, params, classes)
    )
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
        task="regression" if wants_numbers else "classification",
        classes=classes,
        rows=_row_counts(rows, params),
        columns=rows.features.shape[1],
        estimator=estimators.described_params(reread),
        metrics=evaluation.metrics,
        model=params.model,
    )
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in outputs.items()}
    record = f"{params.reports}/{RECORD}"
    environments = environment_path(record)
    told = with_environment(read_environments(context.root / environments), hashes, describe_environment())
    beside = {} if told is None else {environments: told}
    _write_outputs(context.root, {**outputs, **beside}, record, encode_record(run, hashes))
    findings = [Finding("warning", "fit", params.estimator, text) for text in fitted.warnings]
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


def _fit(
    context: StageContext, params: TrainParams, params_name: str, pipeline: Any, rows: TrainingRows
) -> estimators.Fitted:
    features = rows.features[rows.is_fit]
    labels = rows.labels.filter(pa.array(rows.is_fit)).to_numpy(zero_copy_only=False)
    if labels.dtype == object:
        labels = labels.astype(str)
    most = min(features.shape)
    if params.pca != "none" and params.pca > most:
        problem = f"{params.pca} components of {features.shape[1]} features in {features.shape[0]} rows, at most {most}"
        raise BadSettings(path=params_name, where="train.pca", problem=problem)
    with context.progress.bar("train", len(labels), "row") as bar:
        fitted = estimators.fit(pipeline, features, labels, params_name)
        bar.advance(len(labels))
    return fitted


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


def _write_outputs(root: Path, outputs: Mapping[str, bytes], record: str, record_data: bytes) -> None:
    scratch = state_of(root).scratch
    with lock(scratch / "stage-train.lock", what="the output of train", timeout_s=_LOCK_TIMEOUT_S):
        sweep_temporaries(scratch)
        _replace_outputs(root, scratch / temporary_name(), outputs, record, record_data)


def _replace_outputs(root: Path, staging: Path, outputs: Mapping[str, bytes], record: str, record_data: bytes) -> None:
    path = record
    try:
        make_directory(staging)
        staged = {}
        for path, data in {**outputs, record: record_data}.items():
            staged[path] = _stage(staging, root / path, data)
        failpoints.hit("train.staged")
        (root / record).unlink(missing_ok=True)
        fsync_directory((root / record).parent)
        _remove_old_plots(root, outputs)
        for path, temporary in staged.items():  # the record is the last
            publish_file(temporary, root / path, failpoint="train.publish")
    except OSError as error:
        raise StorageFailed(action="write", path=path, problem=error.strerror or str(error)) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _stage(staging: Path, target: Path, data: bytes) -> Path:
    make_directory(target.parent)
    # Asked before the first file takes its place: a folder that refuses would leave a mix.
    is_folder = target.parent.is_dir()
    if not is_folder or not os.access(target.parent, os.W_OK):
        number = errno.EACCES if is_folder else errno.ENOTDIR
        raise OSError(number, os.strerror(number))
    same_device = staging.stat().st_dev == target.parent.stat().st_dev
    temporary = (staging if same_device else target.parent) / temporary_name()
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        write_all(number, data)
        os.fsync(number)
    finally:
        os.close(number)
    return temporary


def _remove_old_plots(root: Path, outputs: Mapping[str, bytes]) -> None:
    """The plots of the other task; files of the user's own stay."""
    for folder in {(root / path).parent for path in outputs if Path(path).name in PLOT_FILES}:
        for name in PLOT_FILES:
            if (folder / name).relative_to(root).as_posix() not in outputs:
                (folder / name).unlink(missing_ok=True)
