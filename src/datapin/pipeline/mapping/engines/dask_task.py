"""What workers of Dask run: one item, after a look at whether results of this worker are those that are asked for."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import datapin
from datapin.base.errors import DatapinError, Refused
from datapin.pipeline.mapping.engines.local import THREAD_LIMITS
from datapin.pipeline.operators.user_code import UserFunction

STORE = "the store"
_LIMITS = [name for name in THREAD_LIMITS if name[:3] in ("OMP", "MKL", "OPE")]  # those that a nanny of Dask sets
_SAME = "install the same versions on every worker"
_ONE_THREAD = "start workers with their nanny (`dask worker --nthreads 1`), which sets it"
_begun: dict[str, Callable[[Any], Any]] = {}  # of this worker process: the computation it works on
_one_at_a_time = threading.Lock()  # a worker may have several threads, a computation promises nothing about them


def traits_of(computation: Any) -> dict[str, str]:
    """What results depend on beside the computation: versions of code and libraries, threads, the store's place."""
    operator = getattr(computation, "operator", None)
    traits = dict(operator.environment) if operator is not None else {}
    store = getattr(computation, "store_root", None)
    if store is not None:
        traits[STORE] = str(store)
    return {"datapin": f"{datapin.__version__} ({_code_hash()})", **traits}


def run_one(token: str, computation: bytes, traits: Mapping[str, str], item: bytes) -> Any:
    """The result of one item; an error that is foreseen is an answer, not a failed task.

    All but names travels as bytes: what cannot be unpickled here is found here, after the versions were compared.
    """
    try:
        with _one_at_a_time:
            compute = _begun.get(token)
            if compute is None:
                _refuse_others(traits)
                begun = pickle.loads(computation)  # noqa: S301  # from whoever may run code here anyway
                _refuse_other_traits(traits, traits_of(begun))
                for function in _functions_of(begun):
                    function.load_anew()
                _begun.clear()
                compute = _begun[token] = begun.begin()
            return compute(pickle.loads(item))  # noqa: S301
    except (DatapinError, OSError) as error:
        return error


@cache
def _code_hash() -> str:
    """Two states of one version are told apart: of a checkout, the version says little."""
    folder = Path(datapin.__file__).parent
    hashed = hashlib.sha256()
    for path in sorted((folder / "pipeline").rglob("*.py")):
        hashed.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()[:12]


def _functions_of(computation: Any) -> list[UserFunction]:
    parts = (getattr(computation, "function", None), *getattr(getattr(computation, "operator", None), "extractors", ()))
    return [part for part in parts if isinstance(part, UserFunction)]


def _refuse_others(wanted: Mapping[str, str]) -> None:
    """Raise Refused if this worker has another datapin, does not see the store, or computes with more threads."""
    _refuse_other_traits({"datapin": wanted["datapin"]}, traits_of(None))
    store = wanted.get(STORE)
    if store is not None and not Path(store).is_dir():
        problem = f"the worker {_address()} does not see the store at {store}"
        raise Refused(problem, "put store.dir on a disk that all workers mount")
    for name in _LIMITS:
        if os.environ.get(name) != "1":
            seen = os.environ.get(name, "nothing")
            raise Refused(f"the worker {_address()} has {name} {seen}, expected 1: sums may differ", _ONE_THREAD)


def _refuse_other_traits(wanted: Mapping[str, str], here: Mapping[str, str]) -> None:
    for name, expected in wanted.items():
        seen = here.get(name, "nothing")
        if seen != expected:
            raise Refused(f"the worker {_address()} has {name} {seen}, expected {expected}", _SAME)


def _address() -> str:
    from distributed import get_worker

    return str(get_worker().address)
