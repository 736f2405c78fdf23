"""What the `train` section of params.yaml may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from datapin.pipeline.params.params import ParamsSection, RepoPath
from datapin.pipeline.params.values import ClassWeights

DEFAULT_ESTIMATOR = "sklearn.ensemble.ExtraTreesClassifier"


def _names_are_unique(names: list[str]) -> list[str]:
    if len(set(names)) != len(names) or not all(names):
        raise ValueError("must name each split once")
    return names


def _is_a_model_file(path: str) -> str:
    if not path.endswith(".skops"):
        raise ValueError("must end with .skops")
    return path


class EarlyStoppingParams(ParamsSection):
    """When to stop: measured on rows of another split, never on copies or neighbours of what is learnt from."""

    split: str = Field(default="val", min_length=1, description="the split whose loss is watched")
    rounds: int = Field(default=200, ge=1, le=1_000_000, description="at most: trees, or passes over the rows")
    patience: int = Field(default=10, ge=1, description="rounds without a smaller loss, after which the best is kept")


class TrainParams(ParamsSection):
    """The train stage: which features, which estimator, where the model and its reports go."""

    input: RepoPath = Field(default="data/features", description="the features manifest")
    estimator: str = Field(
        default=DEFAULT_ESTIMATOR, description="dotted name of a scikit-learn classifier or regressor"
    )
    estimator_params: dict[str, Any] = Field(default={}, description="its parameters; see `build_pipeline` for nesting")
    seed: int = Field(default=0, ge=0, lt=1 << 32, description="random_state of every step that accepts one")
    scaler: Literal["none", "standard", "minmax", "tfidf"] = Field(
        default="none",
        description="fitted on train rows only; tfidf: of counts, see ngrams",
    )
    label_column: str = Field(
        default="label", min_length=1, description="what is learnt: a text, a number, or a list of texts"
    )
    sample_weight: str | None = Field(
        default=None, min_length=1, description="column that says how much a row counts in learning"
    )
    class_weight: ClassWeights | None = Field(
        default=None, description="how much rows of a class count; balanced: every class as much as any other"
    )
    early_stopping: EarlyStoppingParams | None = Field(default=None, description="keep the best round of many")
    pca: Annotated[int, Field(ge=1)] | Literal["none"] = Field(default="none", description="components to keep")
    fit_split: str = Field(default="train", min_length=1, description="the split the model learns from")
    evaluate: Annotated[list[str], AfterValidator(_names_are_unique)] = Field(
        default=["val", "test"], description="the splits it is measured on; plots show the last one that has rows"
    )
    model: Annotated[RepoPath, AfterValidator(_is_a_model_file)] = Field(default="models/model.skops")
    reports: RepoPath = Field(default="reports", description="folder of metrics, plots, predictions and run record")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.early_stopping is not None and self.early_stopping.split == self.fit_split:
            raise ValueError(f"early_stopping.split is {self.fit_split}, which is learnt from: name another")
        if self.scaler == "tfidf" and self.pca != "none":
            raise ValueError("scaler: tfidf and pca do not go together: sparse rows, and dense")
        return self
