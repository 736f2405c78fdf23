"""Model files: skops with canonical bytes, read back through a list of trusted types. Never a pickle.

The only home of skops. skops names members by `id()` and stamps the clock, so its own files differ every time; here
members are renamed in the order of the schema, ids are renumbered, dates are fixed and nothing is compressed (no zlib
version in the bytes). An allow-list is not a sandbox: read models of repositories you trust.
"""

from __future__ import annotations

import io
import json
import math
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from datapin.base.documents import read_bounded, read_json
from datapin.base.errors import BadDocument, DamagedModel, ModelRefused, StorageFailed

SCHEMA = "schema.json"
SCHEMA_DEPTH = 400  # skops nests as deep as the estimator does; JSON's own reader gives up at a thousand
_MODEL_BYTES = 16 << 30
_UNPACKED_BYTES, _UNPACKED_TIMES = 256 << 20, 32  # what sparse arrays, which skops compresses, may unfold to
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o644 << 16

# What scikit-learn's estimators keep inside and skops does not trust by itself, found by dumping every classifier and
# regressor of scikit-learn 1.9, their losses, kernels and distances, with skops 0.16.
TRUSTED_TYPES = frozenset(
    {
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        *(
            f"sklearn.gaussian_process.kernels.{name}"
            for name in (
                "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern", "PairwiseKernel",
                "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel",
            )
        ),
        *(
            f"sklearn.metrics._dist_metrics.{name}Distance64"
            for name in ("BrayCurtis", "Canberra", "Chebyshev", "Euclidean", "Hamming", "Manhattan", "Minkowski")
        ),
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)  # fmt: skip

# What skops and NumPy raise on bytes that are a zip archive but no model.
_UNREADABLE = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def dump_model(estimator: Any) -> bytes:
    """A fitted scikit-learn estimator as skops bytes that depend on its content only.

    Raises ModelRefused if it holds what skops cannot write.
    """
    import skops.io

    try:
        data = skops.io.dumps(estimator)
    except TypeError as error:
        raise ModelRefused(path=type(estimator).__name__, types=(_one_line(error),)) from None
    return canonical_skops(data)


def load_model(path: str | Path) -> Any:
    """The scikit-learn estimator in the model file `path`.

    Raises StorageFailed if it cannot be read, DamagedModel if it is not a model as `train` writes it, and
    ModelRefused, naming the types, if it would build anything else than what scikit-learn's estimators consist of.
    """
    try:
        data = read_bounded(path, _MODEL_BYTES)
    except BadDocument as error:
        raise DamagedModel(path=str(path), problem=error.problem) from None
    except OSError as error:
        raise StorageFailed(action="read", path=str(path), problem=error.strerror or str(error)) from None
    return read_model(data, name=str(path))


def read_model(data: bytes, *, name: str) -> Any:
    """The estimator in the bytes of a model file; `name` is what errors call it. Raises as `load_model`."""
    import skops.io
    from sklearn.base import BaseEstimator

    _check_archive(data, name)
    try:
        untrusted = set(skops.io.get_untrusted_types(data=data))
        if untrusted <= TRUSTED_TYPES:
            estimator = skops.io.loads(data, trusted=sorted(untrusted))
    except _UNREADABLE as error:
        raise DamagedModel(path=name, problem=_one_line(error)) from None
    if not untrusted <= TRUSTED_TYPES:
        raise ModelRefused(path=name, types=tuple(sorted(untrusted - TRUSTED_TYPES)))
    if not isinstance(estimator, BaseEstimator):
        raise DamagedModel(path=name, problem=f"holds a {type(estimator).__name__}, expected an estimator")
    return estimator


def canonical_skops(data: bytes) -> bytes:
    """The skops archive `data` with the same content and bytes that repeat; canonical bytes stay as they are.

    The walk follows the schema in the order of the dump, which follows the object and not memory addresses.
    """
    archive = zipfile.ZipFile(io.BytesIO(data))
    schema = read_json(archive.read(SCHEMA), SCHEMA, most_depth=SCHEMA_DEPTH)
    members: dict[str, str] = {}
    numbers: dict[int, int] = {}
    _renumber(schema, members, numbers)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        _put(target, SCHEMA, json.dumps(schema, separators=(",", ":")).encode())
        for old, new in members.items():
            _put(target, new, archive.read(old))
    return out.getvalue()


def _renumber(node: Any, members: dict[str, str], numbers: dict[int, int]) -> None:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "file" and isinstance(value, str):
                suffix = os.path.splitext(value)[1]
                node[name] = members.setdefault(value, f"{len(members):06d}{suffix}")
            elif name == "__id__":
                node[name] = numbers.setdefault(value, len(numbers) + 1)
            else:
                _renumber(value, members, numbers)
    elif isinstance(node, list):
        for value in node:
            _renumber(value, members, numbers)


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
    entry.create_system = 3  # Unix, on every system
    entry.external_attr = _PLAIN_FILE
    archive.writestr(entry, data)


def _check_archive(data: bytes, name: str) -> None:
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DamagedModel(path=name, problem=_one_line(error)) from None
    # Stored members cannot grow on reading: a small crafted file must not fill the memory.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise DamagedModel(path=name, problem="it is compressed, which `datapin run train` never does")
    if sum(entry.file_size for entry in entries) > len(data):
        raise DamagedModel(path=name, problem="its members overlap")
    if SCHEMA not in {entry.filename for entry in entries}:
        raise DamagedModel(path=name, problem=f"no {SCHEMA} in it")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            read_json(archive.read(SCHEMA), SCHEMA, most_depth=SCHEMA_DEPTH)
            check_arrays(archive, most_bytes=max(_UNPACKED_BYTES, _UNPACKED_TIMES * len(data)))
    except _UNREADABLE as error:
        raise DamagedModel(path=name, problem=_one_line(error)) from None


def _one_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


# NumPy's array files inside an archive, compared with what they claim before anybody allocates it.


_ARRAY, _ARCHIVE = b"\x93NUMPY", b"PK\x03\x04"
_MAGIC_BYTES = 6
_HEADER_BYTES = 10_000  # NumPy's own bound, which its parser of literals needs
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_arrays(archive: zipfile.ZipFile, *, most_bytes: int, is_inner: bool = False) -> None:
    """Raise ValueError if a member claims to be a larger array than it holds, or all unfold to more than `most_bytes`.

    Archives of arrays (of sparse matrices) inside of it are looked through as well. Raises what NumPy and zipfile
    raise on what is no array.
    """
    if sum(entry.file_size for entry in archive.infolist()) > most_bytes:
        raise ValueError(f"its members unfold to more than {most_bytes} bytes")
    for entry in archive.infolist():
        with archive.open(entry) as member:
            head = member.read(_MAGIC_BYTES)
            if head == _ARRAY:
                _check_array(member, head, entry)
            elif head.startswith(_ARCHIVE) and not is_inner:
                with zipfile.ZipFile(io.BytesIO(head + member.read())) as inner:
                    check_arrays(inner, most_bytes=most_bytes, is_inner=True)


def _check_array(member: IO[bytes], head: bytes, entry: zipfile.ZipInfo) -> None:
    start = io.BytesIO(head + member.read(_HEADER_BYTES + 64))
    version = np.lib.format.read_magic(start)
    if version not in _VERSIONS:
        raise ValueError(f"{entry.filename} is an array file of version {version}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, _, dtype = _VERSIONS[version](start, max_header_size=_HEADER_BYTES)
    except (SyntaxError, TokenError, RecursionError, MemoryError):  # NumPy reads the header as Python's literals
        raise ValueError(f"{entry.filename} does not begin as an array") from None
    claimed, held = math.prod(shape) * dtype.itemsize, entry.file_size - start.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or claimed != held:
        raise ValueError(f"{entry.filename} claims an array of {claimed} bytes, and holds {held}")
