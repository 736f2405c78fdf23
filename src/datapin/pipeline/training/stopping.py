"""How an estimator is fitted: at once, or round by round until another split's loss no longer falls.

scikit-learn's own early stopping sets rows aside by chance, copies and neighbours of those it learns from among them.
Here the loss is that of a split, whose rows share nothing with these.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datapin.base.errors import BadSettings
from datapin.pipeline.params.train_params import EarlyStoppingParams
from datapin.pipeline.training.metrics import Floats, rounded, row_losses

Labels = npt.NDArray[Any]
_EXAMPLES = "sklearn.ensemble.HistGradientBoostingClassifier, sklearn.neural_network.MLPClassifier"


@dataclass(frozen=True, slots=True)
class Watch:
    """The rows whose loss is watched: features [n, d] and their labels [n]."""

    params: EarlyStoppingParams
    seed: int
    features: Floats
    labels: Labels


@dataclass(frozen=True, slots=True)
class KeptRound:
    """The round that was kept, of those that were tried, and its loss."""

    split: str
    rounds: int
    tried: int
    loss: float


def fit_plainly(pipeline: Any, features: Floats, labels: Labels, weights: Floats | None) -> None:
    """Fit all steps; weights are the last one's alone."""
    given = {} if weights is None else {f"{pipeline.steps[-1][0]}__sample_weight": weights}
    pipeline.fit(features, labels, **given)


def fit_watched(
    pipeline: Any, features: Floats, labels: Labels, weights: Floats | None, watch: Watch, params_name: str
) -> KeptRound:
    """Fit, and keep the round with the smallest loss: log loss, share of mistakes without probabilities, squared error.

    Ensembles that can be asked after each tree are fitted again with the best number of them; what learns in passes
    (`partial_fit`) makes one pass a round, in an order drawn from the seed. Raises BadSettings for others.
    """
    front, estimator = pipeline[:-1], pipeline[-1]
    seen, watched = features, watch.features
    if len(front):
        seen = front.fit_transform(features, labels)
        watched = front.transform(watch.features)
    count = next((name for name in ("max_iter", "n_estimators") if name in estimator.get_params()), None)
    if hasattr(estimator, "staged_predict") and count is not None:
        estimator.set_params(**{count: watch.params.rounds})
        if hasattr(estimator, "early_stopping"):
            estimator.set_params(early_stopping=False)
        _fit(estimator, seen, labels, weights)
        stopped = _best_of(_staged_losses(estimator, watched, watch.labels), watch.params)
        if stopped.rounds < watch.params.rounds:
            estimator.set_params(**{count: stopped.rounds})
            _fit(estimator, seen, labels, weights)
        return stopped
    if hasattr(estimator, "partial_fit") and labels.ndim == 1:
        passes = _Passes(estimator, seen, labels, weights, watch.seed)
        stopped = _best_of(passes.losses(watched, watch.labels), watch.params, keep=passes.keep)
        pipeline.steps[-1] = (pipeline.steps[-1][0], passes.kept)
        return stopped
    name = type(estimator).__name__
    raise BadSettings(
        params_name,
        "train.early_stopping",
        f"{name} learns in no rounds, so there is none to stop at",
        f"remove it, or choose an estimator that does, for example {_EXAMPLES}",
    )


def _fit(estimator: Any, features: Floats, labels: Labels, weights: Floats | None) -> None:
    estimator.fit(features, labels, **({} if weights is None else {"sample_weight": weights}))


def _best_of(losses: Iterable[float], params: EarlyStoppingParams, keep: Any = None) -> KeptRound:
    """The first round of smallest loss, until `patience` rounds brought none. `keep` is called at each new best."""
    best, place, tried = np.inf, 0, 0
    for tried, exact in zip(range(1, params.rounds + 1), losses, strict=False):
        loss = rounded(exact)  # the last bits of a logarithm must not decide how long is learnt
        if loss < best or not place:
            best, place = loss, tried
            if keep is not None:
                keep()
        elif tried - place >= params.patience:
            break
    return KeptRound(params.split, place, tried, best)


def _staged_losses(estimator: Any, features: Floats, labels: Labels) -> Iterator[float]:
    if hasattr(estimator, "staged_predict_proba"):
        return (_loss(estimator, labels, None, given) for given in estimator.staged_predict_proba(features))
    return (_loss(estimator, labels, said, None) for said in estimator.staged_predict(features))


def _loss(estimator: Any, labels: Labels, said: Labels | None, given: Floats | None) -> float:
    """The mean over rows; a class that no row to learn from has was given no probability."""
    if given is not None:
        padded = np.concatenate([given, np.zeros((len(given), 1))], axis=1)
        places = np.searchsorted(estimator.classes_, labels)
        clipped = np.minimum(places, len(estimator.classes_) - 1)
        known = estimator.classes_[clipped] == labels
        return float(row_losses(np.where(known, clipped, given.shape[1]), padded).mean())
    if said is None:
        return np.inf
    if hasattr(estimator, "classes_"):
        return float((said != labels).mean())
    return float(((said.reshape(-1) - labels) ** 2).mean())


class _Passes:
    """An estimator that learns in passes over the rows, and its best state so far."""

    def __init__(self, estimator: Any, features: Floats, labels: Labels, weights: Floats | None, seed: int) -> None:
        self._estimator, self._features, self._labels, self._seed = estimator, features, labels, seed
        known = inspect.signature(estimator.partial_fit).parameters
        self._weights = weights
        self._more = {"classes": np.unique(labels)} if "classes" in known else {}
        self.kept: Any = estimator

    def losses(self, features: Floats, labels: Labels) -> Iterator[float]:
        """The loss after each pass, without end."""
        number = 0
        while True:
            order = np.random.default_rng([self._seed, number]).permutation(len(self._labels))
            weights = {} if self._weights is None else {"sample_weight": self._weights[order]}
            self._estimator.partial_fit(self._features[order], self._labels[order], **self._more, **weights)
            number += 1
            has_probabilities = hasattr(self._estimator, "predict_proba")
            given = self._estimator.predict_proba(features) if has_probabilities else None
            yield _loss(
                self._estimator, labels, None if has_probabilities else self._estimator.predict(features), given
            )

    def keep(self) -> None:
        """Remember the estimator as it is now."""
        self.kept = copy.deepcopy(self._estimator)
