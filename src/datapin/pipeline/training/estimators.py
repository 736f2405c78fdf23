"""From dotted names to scikit-learn estimators, fitted and asked on one thread. The only home of scikit-learn.

One thread, because sums of floating point numbers depend on how they are split: with it, `fit` on the same rows in the
same order gives the same bits, run after run, on the same CPU and libraries.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from datapin.base.errors import BadSettings, StageRefused, listed
from datapin.pipeline.params.train_params import DEFAULT_ESTIMATOR, TrainParams
from datapin.pipeline.record.record import json_ready
from datapin.pipeline.training.metrics import Floats
from datapin.pipeline.training.stopping import KeptRound, Watch, fit_plainly, fit_watched

_PUBLIC_NAME = re.compile(r"sklearn(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*\Z", re.ASCII)
_EXPECTED = "a classifier or regressor of scikit-learn, such as sklearn.ensemble.ExtraTreesClassifier"
_MANY_LABELS = "sklearn.multioutput.MultiOutputClassifier"
SECTION = "train"
_NOT_ESTIMATORS = frozenset({"tests", "externals", "conftest", "experimental", "datasets", "utils"})


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted pipeline and what scikit-learn warned about while fitting, each warning once."""

    pipeline: Any
    warnings: tuple[str, ...]
    stopped: KeptRound | None = None


def build_pipeline(params: TrainParams, params_name: str) -> Any:
    """The unfitted scikit-learn Pipeline that `params`, of the file `params_name`, describe.

    An estimator parameter that is itself an estimator is written as a mapping of the same two names:
    `estimator_params: {estimator: {estimator: sklearn.svm.SVC, estimator_params: {C: 10}}}`.
    Every step that takes a `random_state` gets the seed, every `n_jobs` is 1.
    Raises BadSettings for a name that is not a scikit-learn classifier or regressor, or a parameter it does not know.
    """
    from sklearn.decomposition import PCA
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    estimator = _Builder(params_name, params.seed).build(params.estimator, params.estimator_params, SECTION)
    steps: list[tuple[str, Any]] = []
    if params.scaler != "none":
        scalers = {"standard": StandardScaler, "minmax": MinMaxScaler, "tfidf": TfidfTransformer}
        steps.append(("scaler", scalers[params.scaler]()))
    if params.pca != "none":
        steps.append(("pca", PCA(n_components=params.pca, svd_solver="full", random_state=params.seed)))
    steps.append(("estimator", estimator))
    return Pipeline(steps)


def is_classifier(pipeline: Any) -> bool:
    """Does the pipeline end in a classifier (else it is a regressor)?"""
    from sklearn.base import is_classifier as asks_for_classes

    return bool(asks_for_classes(pipeline))


def fit(
    pipeline: Any,
    features: Floats,
    labels: npt.NDArray[Any],
    params_name: str,
    *,
    weights: Floats | None = None,
    stopping: Watch | None = None,
) -> Fitted:
    """Fit on one thread; `weights` [n] is how much each row counts.

    Raises BadSettings if a parameter's value is impossible or the estimator cannot do it, StageRefused if the rows
    are not to be learnt from.
    """
    from threadpoolctl import threadpool_limits

    _check_abilities(pipeline, labels, params_name, is_weighted=weights is not None)
    stopped = None
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(limits=1):
        warnings.simplefilter("always")
        try:
            if stopping is not None:
                stopped = fit_watched(pipeline, features, labels, weights, stopping, params_name)
            else:
                fit_plainly(pipeline, features, labels, weights)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
            # scikit-learn's own check of parameters raises a class that is both.
            if isinstance(error, ValueError) and isinstance(error, TypeError):
                raise BadSettings(
                    path=params_name, where=f"{SECTION}.estimator_params", problem=_one_line(error)
                ) from None
            name = type(pipeline[-1]).__name__
            raise StageRefused(
                stage="train",
                problem=f"{name} cannot learn from these rows: {_one_line(error)}",
                advice="change train.estimator or train.estimator_params in params.yaml",
            ) from None
    said = tuple(dict.fromkeys(_one_line(item.message) for item in caught))
    return Fitted(pipeline=pipeline, warnings=said, stopped=stopped)


def sets_rows_aside(pipeline: Any) -> bool:
    """Whether this fitted estimator kept rows back by chance, to stop early on: copies of what it learnt from, too."""
    estimator = pipeline[-1]
    if hasattr(estimator, "early_stopping"):
        return bool(getattr(estimator, "do_early_stopping_", estimator.early_stopping is True))
    return hasattr(estimator, "validation_fraction") and getattr(estimator, "n_iter_no_change", None) is not None


def _check_abilities(pipeline: Any, labels: npt.NDArray[Any], params_name: str, *, is_weighted: bool) -> None:
    from sklearn.utils.validation import has_fit_parameter

    name = type(pipeline[-1]).__name__
    if is_weighted and not has_fit_parameter(pipeline[-1], "sample_weight"):
        problem = f"{name} takes no weights: sample_weight and class_weight need an estimator that does"
        raise BadSettings(params_name, f"{SECTION}.estimator", problem, f"for example {DEFAULT_ESTIMATOR}")
    if labels.ndim == 2 and not _takes_many_labels(pipeline[-1]):
        inner = f"{{estimator: {{estimator: {_dotted(pipeline[-1])}}}}}"
        advice = f"wrap it: estimator: {_MANY_LABELS}, estimator_params: {inner}"
        raise BadSettings(
            params_name, f"{SECTION}.estimator", f"{name} gives a row one label, rows here have several", advice
        )


def _takes_many_labels(estimator: Any) -> bool:
    try:
        from sklearn.utils import get_tags
    except ImportError:  # before 1.6
        return bool(estimator._get_tags().get("multilabel", False)) or hasattr(estimator, "order_")
    tags = get_tags(estimator)
    known = tags.classifier_tags is not None and tags.classifier_tags.multi_label
    return bool(known or tags.target_tags.multi_output)


def predict(pipeline: Any, features: Floats) -> npt.NDArray[Any]:
    """Predicted labels on one thread."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        predicted: npt.NDArray[Any] = np.asarray(pipeline.predict(features))
    return predicted


def probabilities(pipeline: Any, features: Floats) -> Floats | None:
    """Probabilities [n, classes of the estimator] on one thread, None if this estimator gives none.

    Of several labels: that a row has each, [n, labels].
    """
    from threadpoolctl import threadpool_limits

    if not hasattr(pipeline, "predict_proba"):
        return None
    with threadpool_limits(limits=1):
        given = pipeline.predict_proba(features)
    if isinstance(given, list):  # of several labels: for each its own two columns, or one if all rows were alike
        present = [np.flatnonzero(np.asarray(seen) == 1) for seen in pipeline.classes_]
        pairs = zip(given, present, strict=True)
        given = np.stack([one[:, place].sum(axis=1) for one, place in pairs], axis=1)
    result: Floats = np.asarray(given, dtype=np.float64)
    return result


def described_params(pipeline: Any) -> dict[str, Any]:
    """Every parameter of every step with its value, defaults included, as JSON values."""
    return {name: _described(step) for name, step in pipeline.steps}


@dataclass(frozen=True, slots=True)
class _Builder:
    """Builds estimators, nested ones too, and says where in the params file something is wrong."""

    params_name: str
    seed: int

    def build(self, name: object, given: object, where: str) -> Any:
        cls = self._class_of(name, f"{where}.estimator")
        if not isinstance(given, Mapping):
            raise self._bad(f"{where}.estimator_params", f"expected names and values, seen {given!r}")
        known = set(cls._get_param_names())
        settings: dict[str, Any] = {}
        for param, value in given.items():
            place = f"{where}.estimator_params.{param}"
            if param not in known:
                near = get_close_matches(str(param), known, n=1)
                guess = f"; did you mean {near[0]}?" if near else f"; known: {listed(sorted(known))}"
                raise self._bad(place, f"{cls.__name__} has no such parameter{guess}")
            if param == "random_state":
                raise self._bad(place, f"is set from the seed; give {SECTION}.seed instead")
            if param == "warm_start" and value:
                raise self._bad(place, "goes on from an earlier fit, so that a commit would not give its model again")
            settings[param] = self._value(value, place)
        if "random_state" in known:
            settings["random_state"] = self.seed
        if "n_jobs" in known:
            settings["n_jobs"] = 1
        try:
            return cls(**settings)
        except TypeError as error:  # a meta-estimator without the estimator it wraps
            raise self._bad(f"{where}.estimator_params", _one_line(error)) from None

    def _value(self, value: object, place: str) -> Any:
        if isinstance(value, Mapping) and "estimator" in value and set(value) <= {"estimator", "estimator_params"}:
            return self.build(value["estimator"], value.get("estimator_params", {}), place)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, list):
            return [self._value(item, f"{place}[{i}]") for i, item in enumerate(value)]
        return value

    def _class_of(self, name: object, where: str) -> Any:
        from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

        if not isinstance(name, str) or not _PUBLIC_NAME.match(name) or _NOT_ESTIMATORS & set(name.split(".")):
            raise self._bad(where, f"{name!r} is not {_EXPECTED}")
        module_name, _, class_name = name.rpartition(".")
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            raise self._bad(where, f"scikit-learn has no module {module_name}; expected {_EXPECTED}") from None
        cls = getattr(module, class_name, None)
        if cls is None:
            near = get_close_matches(class_name, dir(module), n=1)
            guess = f"did you mean {near[0]}?" if near else f"expected {_EXPECTED}"
            raise self._bad(where, f"{module_name} has no {class_name}; {guess}")
        is_estimator = isinstance(cls, type) and issubclass(cls, BaseEstimator)
        if not is_estimator or not issubclass(cls, (ClassifierMixin, RegressorMixin)):
            raise self._bad(where, f"{name!r} is not {_EXPECTED}")
        return cls

    def _bad(self, where: str, problem: str) -> BadSettings:
        return BadSettings(path=self.params_name, where=where, problem=problem)


def _dotted(step: object) -> str:
    # The public path: sklearn.ensemble._forest is where the class happens to be written.
    public = [part for part in type(step).__module__.split(".") if not part.startswith("_")]
    return ".".join([*public, type(step).__name__])


def _described(value: object) -> Any:
    if isinstance(value, list | tuple):
        return [_described(item) for item in value]
    if hasattr(value, "get_params"):
        return {"class": _dotted(value), "params": {k: _described(v) for k, v in value.get_params(deep=False).items()}}
    return json_ready(value)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
