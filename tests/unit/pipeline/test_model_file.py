"""Model files: bytes that repeat, a way back for every kind of estimator, and nothing else."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from datapin.base.errors import DamagedModel, ModelRefused, StorageFailed
from datapin.pipeline.training.model_file import canonical_skops, dump_model, load_model, read_model

_DUMP_MANY = """
import hashlib, warnings
warnings.filterwarnings("ignore")
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import *
from sklearn.linear_model import *
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import *
from sklearn.neural_network import *
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import *
from sklearn.svm import *
from threadpoolctl import threadpool_limits
from datapin.pipeline.training.model_file import dump_model, read_model
rng = np.random.default_rng(0)
x = rng.normal(size=(90, 6)); y = np.array(["ant", "bee", "cat"])[np.arange(90) % 3]; x[:, 0] += np.arange(90) % 3
numbers = x[:, 0] * 2 + x[:, 1]
models = [
    (make_pipeline(StandardScaler(), LogisticRegression()), y), (SVC(), y), (GaussianNB(), y),
    (RandomForestClassifier(5, random_state=0), y), (ExtraTreesClassifier(5, random_state=0), y),
    (HistGradientBoostingClassifier(max_iter=5, random_state=0), y), (KNeighborsClassifier(), y),
    (GradientBoostingClassifier(n_estimators=3, random_state=0), y),
    (AdaBoostClassifier(n_estimators=3, random_state=0), y),
    (MLPClassifier((8,), max_iter=5, random_state=0), y),
    (MLPClassifier((8,), solver="sgd", max_iter=5, random_state=0), y),
    (CalibratedClassifierCV(LinearSVC(random_state=0), cv=3), y),
    (CalibratedClassifierCV(LinearSVC(random_state=0), cv=3, method="isotonic"), y),
    (HistGradientBoostingRegressor(max_iter=5, random_state=0), numbers), (Ridge(), numbers),
    (RandomForestRegressor(5, random_state=0), numbers),
    (MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0), numbers),
]
with threadpool_limits(1):
    for model, labels in models:
        data = dump_model(model.fit(x, labels))
        assert (read_model(data, name="m").predict(x) == model.predict(x)).all()
        print(type(model).__name__, hashlib.sha256(data).hexdigest())
"""


def _fitted() -> ExtraTreesClassifier:
    rng = np.random.default_rng(0)
    return ExtraTreesClassifier(5, random_state=0).fit(
        rng.normal(size=(40, 3)), np.array(["a", "b"])[np.arange(40) % 2]
    )


def _rewritten(data: bytes, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", compression) as target:
        for name in source.namelist():
            target.writestr(name, change.get(name, source.read(name)))
    return out.getvalue()


def test_every_common_estimator_gives_the_same_bytes_in_two_processes_and_predicts_the_same_when_read_back() -> None:
    outs = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", _DUMP_MANY], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outs.append(done.stdout)
    assert outs[0] == outs[1]
    assert len(outs[0].splitlines()) == 17


def test_canonical_bytes_stay_as_they_are() -> None:
    data = dump_model(_fitted())
    assert canonical_skops(data) == data


def test_a_model_file_is_readable_with_skops_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    model = _fitted()
    path.write_bytes(dump_model(model))
    points = np.random.default_rng(1).normal(size=(10, 3))
    with_skops = skops.io.load(path, trusted=["sklearn.tree._tree.Tree"])
    assert (with_skops.predict(points) == load_model(path).predict(points)).all()


def test_types_that_are_not_scikit_learns_are_refused_by_name() -> None:
    data = canonical_skops(skops.io.dumps(make_pipeline(FunctionTransformer(os.path.join), LogisticRegression())))
    with pytest.raises(ModelRefused) as caught:
        read_model(data, name="foreign.skops")
    assert caught.value.types == ("posixpath.join",)
    assert "posixpath.join" in caught.value.message
    assert caught.value.exit_code == 40


def test_an_estimator_that_cannot_be_written_is_refused() -> None:
    model = _fitted()
    model.leftover_ = (number for number in range(3))
    with pytest.raises(ModelRefused, match="generator"):
        dump_model(model)


def test_a_schema_that_asks_for_a_dangerous_function_builds_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    data = dump_model(LogisticRegression())
    schema = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("schema.json"))
    schema["content"] = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": f"touch {mark}",
    }
    schema.update({"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"})
    with pytest.raises((ModelRefused, DamagedModel)):
        read_model(_rewritten(data, {"schema.json": json.dumps(schema).encode()}), name="evil.skops")
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_model_is_damage_with_one_line(keep: float, tmp_path: Path) -> None:
    data = dump_model(_fitted())
    path = tmp_path / "model.skops"
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(DamagedModel) as caught:
        load_model(path)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 21


def test_a_flipped_byte_in_a_member_is_damage() -> None:
    data = bytearray(dump_model(_fitted()))
    data[len(data) // 2] ^= 1
    with pytest.raises(DamagedModel):
        read_model(bytes(data), name="m.skops")


def test_a_compressed_model_is_refused_because_it_could_fill_the_memory() -> None:
    with pytest.raises(DamagedModel, match="compressed"):
        read_model(_rewritten(dump_model(_fitted()), {}, zipfile.ZIP_DEFLATED), name="bomb.skops")


def test_a_file_that_holds_something_else_than_an_estimator_is_refused() -> None:
    with pytest.raises(DamagedModel, match="expected an estimator"):
        read_model(canonical_skops(skops.io.dumps({"a": 1})), name="dict.skops")


def test_a_missing_model_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"nowhere\.skops"):
        load_model(tmp_path / "nowhere.skops")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    import pickle

    path = tmp_path / "model.skops"
    path.write_bytes(pickle.dumps(_fitted()))
    with pytest.raises(DamagedModel):
        load_model(path)


def test_what_is_read_is_an_estimator() -> None:
    assert isinstance(read_model(dump_model(_fitted()), name="m"), BaseEstimator)
