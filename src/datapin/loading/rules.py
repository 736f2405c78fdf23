"""What a training script says of its run, checked before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from datapin.base.errors import Usage
from datapin.pipeline.params.params import path_problem
from datapin.pipeline.record.environment_file import environment_path
from datapin.pipeline.record.record import COMMIT_NOTE, RECORD
from datapin.pipeline.training.outputs import PLOTS

TASKS = ("classification", "regression", "multilabel", "detection")


@dataclass(frozen=True, slots=True)
class TrainingRules:
    """Paths are relative to the root of the repository."""

    task: str = "classification"
    section: str = "train"
    params_file: str = "params.yaml"
    model: str = "models/model.bin"
    reports: str = "reports"
    label_column: str | None = None
    fit_split: str = "train"
    evaluate: tuple[str, ...] = ("val", "test")
    deterministic: bool = True
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise Usage(f"task={self.task!r} is unknown", f"use one of {', '.join(TASKS)}")
        for name in ("model", "reports", "params_file"):
            problem = path_problem(getattr(self, name))
            if problem:
                raise Usage(f"{name}={getattr(self, name)!r} {problem}", "name a path below the repository")
        self._check_model()
        if not self.evaluate or len(set(self.evaluate)) != len(self.evaluate):
            raise Usage("evaluate must name each split once", 'for example evaluate=("val", "test")')
        if self.fit_split in self.evaluate:
            raise Usage(f"the split {self.fit_split!r} is learnt from and evaluated", "measure on rows it has not seen")
        is_number = isinstance(self.tolerance, int | float) and not isinstance(self.tolerance, bool)
        if not is_number or not math.isfinite(self.tolerance) or self.tolerance < 0:
            raise Usage(f"tolerance={self.tolerance!r}, expected a number from 0 on", "by how much a metric may differ")
        if self.deterministic and self.tolerance:
            raise Usage("a tolerance is for what is not deterministic", "set deterministic=False, or leave it out")

    def _check_model(self) -> None:
        """Raises Usage if the model would take the place of another file of the run or of the pipeline."""
        written = ("metrics.json", "predictions.parquet", RECORD, COMMIT_NOTE)
        reports = {f"{self.reports}/{name}" for name in written}
        taken = {*reports, environment_path(f"{self.reports}/{RECORD}"), self.params_file, "dvc.yaml", "dvc.lock"}
        is_plot = self.model.startswith(f"{self.reports}/{PLOTS}/")
        is_folder = f"{self.reports}/".startswith(f"{self.model}/")
        if self.model in taken or is_plot or is_folder:
            problem = f"model={self.model!r} is the place of something else, expected one of its own"
            raise Usage(problem, "for example model='models/model.bin'")
