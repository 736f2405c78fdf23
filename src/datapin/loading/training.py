"""`datapin.training`: a training script of the user's gives what `datapin run train` gives, with any library."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import StageRefused, Usage, listed
from datapin.base.id_columns import arrow_numbers
from datapin.base.progress import SILENT
from datapin.dataset import Dataset, open_dataset
from datapin.loading.checked import (
    check_labels,
    checked_boxes,
    count_of,
    finite,
    label_flags,
    model_bytes,
    number,
    probabilities,
    table,
)
from datapin.loading.rules import TrainingRules
from datapin.manifest.columns.columns import flags
from datapin.pipeline.operators.recipe import TRAIN
from datapin.pipeline.params.params import read_params_file
from datapin.pipeline.record.fingerprint import report_json
from datapin.pipeline.record.record import STAGES, TrainRun, input_digests
from datapin.pipeline.splits.leaks import is_augmented, leak_columns, refuse_leaks
from datapin.pipeline.training.evaluation import AskedRows, Evaluation, told_classes, told_numbers
from datapin.pipeline.training.metrics import ROW_DIGITS, Floats, rounded
from datapin.pipeline.training.outputs import PLOTS, write_run
from datapin.pipeline.training.tasks import Box, told_boxes, told_labels
from datapin.verbs.workspace.workspace import Workspace

STAGE = "training"
Task = Literal["classification", "regression", "multilabel", "detection"]
_LABELS = {"classification": "label", "regression": "label", "multilabel": "labels", "detection": "objects"}
_HISTORY = "history.csv"


class Training:
    """One run of a training script: its rows and parameters, and what it leaves.

    `with datapin.training(…) as run:` — at the end of the block the model, `metrics.json`, `predictions.parquet`, plots
    and the run record are written together; if the block raises, nothing is.
    """

    def __init__(self, dataset: Dataset, root: Path, rules: TrainingRules) -> None:
        self._dataset = dataset
        self._root = root
        self._rules = rules
        self._model: bytes | None = None
        self._said: dict[str, tuple[Any, Any]] = {}
        self._more: dict[str, float] = {}
        self._history: list[dict[str, float]] = []
        self._sections = read_params_file(root / rules.params_file) if (root / rules.params_file).exists() else {}
        self._check()

    @property
    def params(self) -> dict[str, Any]:
        """The section of the params file that was named, as written there; empty if there is none."""
        found = self._sections.get(self._rules.section)
        return dict(found) if isinstance(found, dict) else {}

    @property
    def seed(self) -> int:
        """The seed to give to everything random: `seed` of the section, else 0."""
        found = self.params.get("seed", 0)
        if not isinstance(found, int) or isinstance(found, bool):
            raise Usage(f"{self._rules.section}.seed is {found!r}, not a whole number", "correct it in the params file")
        return found

    @cached_property
    def fit(self) -> Dataset:
        """The rows to learn from: those of the split that `fit_split` names, augmented copies among them."""
        return self._dataset.only(self._places(self._rules.fit_split, with_copies=True))

    def split(self, name: str) -> Dataset:
        """The originals of one split, in key order: what `predict` is told of."""
        return self._dataset.only(self._places(name, with_copies=False))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes in index order: as the dataset pins them for its labels, else sorted as text.

        Empty for regression. Objects have the order of the labels if their classes are among these.
        """
        if self._rules.task == "regression":
            return ()
        pinned = self._dataset.classes
        if pinned is not None and self._label_name == "label":
            return pinned
        labels = self._labels
        if self._rules.task == "detection":
            labels = pc.struct_field(labels.flatten(), "label")
        elif self._rules.task == "multilabel":
            labels = labels.flatten()
        found = {str(one) for one in pc.unique(labels).to_pylist() if one is not None}
        if pinned is not None and self._rules.task == "detection" and found <= set(pinned):
            return pinned
        return tuple(sorted(found))

    def codes(self, rows: Dataset) -> npt.NDArray[np.int64]:
        """The class number of each row, int64 [n]; a task with one label per row."""
        labels = rows.column(self._label_name).cast(pa.string())
        places = pc.index_in(labels, value_set=pa.array(self.classes, pa.string()))
        if places.null_count:
            key = rows.column("key").filter(places.is_null())[0].as_py()
            raise StageRefused(STAGE, f"row {key} has a label that is no class", "run `dvc repro prepare`")
        return np.asarray(places.to_numpy(), dtype=np.int64)

    def save(self, model: bytes | str | Path) -> None:
        """The model file's content: its bytes, or a file that the script wrote."""
        self._model = model_bytes(model)

    def predict(
        self,
        split: str,
        predicted: Sequence[Any] | npt.NDArray[Any] | None = None,
        probabilities: npt.NDArray[Any] | Sequence[Sequence[float]] | None = None,
    ) -> None:
        """What the model says of `run.split(split)`, in its order.

        classification: class numbers or names [n], and probabilities [n, classes] if it gives any; with these alone the
        most probable class is meant. regression: numbers [n]. multilabel: flags [n, classes], or lists of names; with
        probabilities alone those from 0.5 on are meant. detection: for each row a list of boxes, see `tasks.Box`.
        Raises Usage for other shapes.
        """
        if split not in self._rules.evaluate:
            known = listed(list(self._rules.evaluate))
            raise Usage(f"the split {split!r} is not among those evaluated: {known}", "name it in evaluate=")
        rows = len(self.split(split))
        for name, values in (("predicted", predicted), ("probabilities", probabilities)):
            count = rows if values is None else count_of(values, f"{name} of {split}")
            if count != rows:
                raise Usage(f"{name} of {split}: {count} row(s), expected {rows}", "predict run.split(name), all")
        if probabilities is not None and self._rules.task in ("regression", "detection"):
            raise Usage(f"{self._rules.task} takes no probabilities", f"give predict({split!r}, predicted)")
        if predicted is None and probabilities is None:
            raise Usage(f"nothing was predicted for {split}", "give predicted or probabilities")
        self._said[split] = (predicted, probabilities)

    def metric(self, name: str, value: float) -> None:
        """A figure of your own for `metrics.json`, beside those of the splits. Raises Usage if it is not finite."""
        figure = number(value, f"the metric {name}", "leave it out, or find out why")
        if name in self._rules.evaluate:
            raise Usage(f"the metric {name} has the name of a split", "give it another name")
        self._more[name] = rounded(figure)

    def log(self, **values: float) -> None:
        """One line of `plots/history.csv`: `run.log(epoch=3, loss=0.2)`. Raises Usage if one is not finite."""
        advice = "stop the training: it has diverged"
        self._history.append({name: rounded(number(value, name, advice)) for name, value in values.items()})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._write()

    # ---

    def _check(self) -> None:
        names = self._dataset.schema.names
        if "split" not in names:
            raise StageRefused(STAGE, f"{self._dataset.name} has no split column", "run `datapin run prepare` first")
        if self._label_name not in names:
            advice = f"name the column with label_column=; columns: {', '.join(names)}"
            raise StageRefused(STAGE, f"{self._dataset.name} has no column {self._label_name!r}", advice)
        related = self._dataset.manifest.to_table(leak_columns(names))
        allowed = (TRAIN, self._rules.fit_split)
        refuse_leaks(STAGE, self._dataset.name, related, may_be_augmented=allowed)
        splits = self._dataset.column("split").cast(pa.string())
        used = pc.is_in(splits, value_set=pa.array([self._rules.fit_split, *self._rules.evaluate]))
        check_labels(self._labels, self._dataset.column("key"), flags(used), self._rules.task, self._label_name)
        if not len(self.fit):
            problem = f"{self._dataset.name} has no rows with split = {self._rules.fit_split!r}"
            raise StageRefused(STAGE, problem, "set prepare's split shares, or fit_split=")

    @property
    def _label_name(self) -> str:
        return self._rules.label_column or _LABELS[self._rules.task]

    @cached_property
    def _labels(self) -> pa.Array:
        return self._dataset.column(self._label_name)

    @cached_property
    def _is_copy(self) -> npt.NDArray[np.bool_]:
        names = [name for name in ("key", "parent") if name in self._dataset.schema.names]
        return is_augmented(self._dataset.manifest.to_table(names))

    def _places(self, split: str, *, with_copies: bool) -> npt.NDArray[np.int64]:
        inside = flags(pc.fill_null(pc.equal(self._dataset.column("split").cast(pa.string()), split), False))
        return np.flatnonzero(inside if with_copies else inside & ~self._is_copy)

    def _write(self) -> None:
        if self._model is None:
            raise Usage("the training saved no model", "call run.save(bytes) before the block ends")
        missing = [name for name in self._rules.evaluate if name not in self._said and len(self.split(name))]
        if missing:
            raise Usage(f"nothing was predicted for {listed(missing)}", "call run.predict(split, …), or set evaluate=")
        evaluation = self._evaluated()
        if not self._rules.deterministic and not evaluation.metrics and not self._more:
            raise Usage("a training that is not deterministic left no metric to compare", "call run.predict or metric")
        metrics = {**evaluation.metrics, **self._more}
        reports = self._rules.reports
        plots = dict(evaluation.plots)
        if self._history:
            plots[_HISTORY] = table(self._history)
        outputs = {
            self._rules.model: self._model,
            f"{reports}/metrics.json": report_json(metrics),
            f"{reports}/predictions.parquet": evaluation.predictions,
            **{f"{reports}/{PLOTS}/{name}": data for name, data in plots.items()},
        }
        write_run(self._root, self._run(metrics), outputs, reports)

    def _run(self, metrics: Mapping[str, Any]) -> TrainRun:
        manifest, rules = self._dataset.manifest, self._rules
        copies = int(self._is_copy[self._places(rules.fit_split, with_copies=True)].sum())
        counts = {"fit": len(self.fit) - copies, "fit_augmented": copies}
        counts |= {name: len(self.split(name)) for name in rules.evaluate}
        told = {
            name: self._sections[name] for name in dict.fromkeys((*STAGES, rules.section)) if name in self._sections
        }
        return TrainRun(
            input=self._dataset.name,
            inputs=input_digests(self._dataset.name, manifest.digest, manifest.properties),
            params=told,
            seed=self.seed,
            task=rules.task,
            classes=self.classes,
            rows=counts,
            columns=0,
            estimator={"trainer": "datapin.training"},
            metrics=metrics,
            model=rules.model,
            deterministic=rules.deterministic,
            tolerance=rules.tolerance,
        )

    def _evaluated(self) -> Evaluation:
        """The rows of all evaluated splits in key order, and what was said of each."""
        asked = {name: self._places(name, with_copies=False) for name in self._rules.evaluate}
        order = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *asked.values()]))
        parts = {name: np.searchsorted(order, some) for name, some in asked.items()}
        places = arrow_numbers(order)
        labels = self._labels.take(places)
        text = labels if self._rules.task != "classification" else labels.cast(pa.string())
        rows = AskedRows(
            self._dataset.column("key").cast(pa.string()).take(places),
            self._dataset.column("split").cast(pa.string()).take(places),
            text, parts,
        )  # fmt: skip
        match self._rules.task:
            case "classification":
                return self._told_classes(rows, asked)
            case "regression":
                return self._told_numbers(rows)
            case "multilabel":
                return self._told_labels(rows)
            case _:
                return self._told_boxes(rows)

    def _told_classes(self, rows: AskedRows, asked: Mapping[str, npt.NDArray[np.int64]]) -> Evaluation:
        actual = self._class_numbers(rows.labels, "label")
        count = len(rows.keys)
        given: Floats | None = np.zeros((count, len(self.classes)))
        predicted = np.zeros(count, dtype=np.int64)
        for name, some in rows.parts.items():
            said, stated = self._said.get(name, (None, None))
            if stated is None:
                given = None if len(some) else given
            elif given is not None:
                given[some] = probabilities(stated, len(self.classes), name, sums_to_one=True)
            if said is None and stated is not None:
                predicted[some] = np.argmax(np.asarray(stated, dtype=np.float64), axis=1)
            elif said is not None:
                predicted[some] = self._class_numbers(said, f"predicted of {name}")
        fit = self.codes(self.fit)
        copies = self._is_copy[self._places(self._rules.fit_split, with_copies=True)]
        size = len(self.classes)
        learnt = {"fit": fit[~copies], "fit, augmented": fit[copies]}
        shares = {part: np.bincount(codes, minlength=size) for part, codes in learnt.items()}
        shares |= {name: np.bincount(actual[some], minlength=size) for name, some in rows.parts.items()}
        return told_classes(rows, actual, predicted, given, self.classes, shares)

    def _class_numbers(self, given: Any, what: str) -> npt.NDArray[np.int64]:
        """Class numbers of numbers or names. Raises Usage for others."""
        try:
            values = given if isinstance(given, pa.Array) else pa.array(np.asarray(given).tolist())
        except (ValueError, pa.ArrowException):
            values = pa.nulls(1, pa.list_(pa.string()))
        if pa.types.is_nested(values.type):
            raise Usage(f"{what} is no list of class numbers or names", "give one class for each row")
        if pa.types.is_integer(values.type):
            codes = np.asarray(values.to_numpy(), dtype=np.int64)
            bad = codes[(codes < 0) | (codes >= len(self.classes))]
            if len(bad):
                raise Usage(f"{what} has class {int(bad[0])}, expected 0 to {len(self.classes) - 1}", "see run.classes")
            return codes
        places = pc.index_in(values.cast(pa.string()), value_set=pa.array(self.classes, pa.string()))
        if places.null_count:
            seen = values.filter(places.is_null())[0].as_py()
            raise Usage(f"{what} has {seen!r}, which is no class", f"classes: {listed(list(self.classes))}")
        return np.asarray(places.to_numpy(), dtype=np.int64)

    def _told_numbers(self, rows: AskedRows) -> Evaluation:
        actual = np.asarray(rows.labels.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        predicted = np.zeros(len(actual))
        for name, some in rows.parts.items():
            if name in self._said:
                predicted[some] = finite(self._said[name][0], (len(some),), f"predicted of {name}")
        return told_numbers(rows, actual, np.round(predicted, ROW_DIGITS))

    def _told_labels(self, rows: AskedRows) -> Evaluation:
        actual = label_flags(rows.labels.to_pylist(), self.classes, "label")
        predicted = np.zeros_like(actual)
        given: Floats | None = np.zeros(actual.shape)
        for name, some in rows.parts.items():
            said, stated = self._said.get(name, (None, None))
            if stated is None:
                given = None if len(some) else given
            elif given is not None:
                given[some] = probabilities(stated, len(self.classes), name, sums_to_one=False)
            if said is not None:
                predicted[some] = label_flags(said, self.classes, f"predicted of {name}")
            elif stated is not None:
                predicted[some] = np.asarray(stated, dtype=np.float64) >= 0.5
        return told_labels(rows, actual, predicted, given, self.classes)

    def _told_boxes(self, rows: AskedRows) -> Evaluation:
        actual: list[list[Box]] = [boxes or [] for boxes in rows.labels.to_pylist()]
        predicted: list[list[Box]] = [[] for _ in actual]
        for name, some in rows.parts.items():
            for place, boxes in zip(some.tolist(), self._said.get(name, ([[]] * len(some), None))[0], strict=True):
                predicted[place] = checked_boxes(boxes, name)
        return told_boxes(rows, actual, predicted, self.classes)


def training(
    dataset: str | Path,
    *,
    task: Task = "classification",
    params: str = "train",
    params_file: str = "params.yaml",
    model: str = "models/model.bin",
    reports: str = "reports",
    label_column: str | None = None,
    fit_split: str = "train",
    evaluate: Sequence[str] = ("val", "test"),
    deterministic: bool = True,
    tolerance: float = 0.0,
    repo: str | Path = ".",
) -> Training:
    """A training script's run, as a context manager: gives it rows and params, and writes what it leaves.

    At the end of the block the model, metrics, predictions, plots and the run record are written together, with the
    paths and formats of `datapin run train`; if the block raises, nothing is. `params` is the section of the file that
    it is told. What does not give the same bytes twice says `deterministic=False`: `datapin verify --repro` then
    compares the metrics, within `tolerance`. Raises Usage, StageRefused, UnknownDataset.
    """
    if isinstance(evaluate, str):
        raise Usage(f"evaluate={evaluate!r} is a text, expected a list of splits", f"evaluate=[{evaluate!r}]")
    rules = TrainingRules(
        task, params, params_file, model, reports, label_column, fit_split, tuple(evaluate), deterministic, tolerance
    )
    workspace = Workspace.find(Path(repo), progress=SILENT)
    found = open_dataset(workspace, os.fspath(dataset), version=None, where=None)
    for path in (rules.model, rules.reports):
        if f"{path}/".startswith(f"{found.name}/"):
            raise Usage(f"{path} lies in the dataset {found.name}", "give the model and reports places of their own")
    return Training(found, workspace.root, rules)
