"""Extractors that the user wrote: `module:function` in the repository, bytes in, vectors out."""

from __future__ import annotations

import importlib
import json
import os
import platform
import struct
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from datapin.base import log
from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.operator import Float32, Vectors
from datapin.pipeline.record.fingerprint import code_identity, file_hashes, library_versions

Extract = Callable[..., Any]

# Code that is not ours may raise anything of these for an asset it cannot use; the asset's row is then named.
_USER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_told: set[tuple[str, ...]] = set()


@dataclass(frozen=True, slots=True)
class UserFunction:
    """`function(assets: list[bytes], **params) -> [n, d]` from a module of the repository.

    It is called with one asset at a time unless its module says `batch_invariant = True` and `in_batches` that this
    was checked: most batched arithmetic rounds differently with the batch.
    """

    root: str
    module: str
    function: str
    params: str  # canonical JSON
    code: str  # canonical JSON of what identifies the code
    in_batches: bool = False

    @property
    def use(self) -> str:
        """Its name in `params.yaml`."""
        return f"{self.module}:{self.function}"

    def identity(self) -> dict[str, Any]:
        """Name, code and parameters; not where the repository lies, nor how it is called."""
        return {"use": self.use, "code": json.loads(self.code), "params": json.loads(self.params)}

    def load_anew(self) -> None:
        """Forget what this process has loaded from the repository: a worker of long life may hold older code.

        Raises OperatorRefused if the code here is not the one that it was named for.
        """
        said, root = json.loads(self.code), Path(self.root)
        seen = {
            "code": code_identity(root, self.module, self.function, self.use),
            "libraries": library_versions(said["libraries"], self.use),
            "inputs": file_hashes(root, said["inputs"], self.use),
        }
        for part, told in said.items():
            if seen.get(part) != told:
                raise OperatorRefused(self.use, f"its {part} below {self.root} of {platform.node()} differ from ours")
        for name, module in list(sys.modules.items()):
            path = Path(getattr(module, "__file__", None) or os.devnull)
            is_installed = "site-packages" in path.parts or name.partition(".")[0] in ("datapin", "__main__")
            if path.is_relative_to(root) and not is_installed:
                del sys.modules[name]
        load.cache_clear()

    def extract(self, assets: Sequence[bytes]) -> Vectors:
        """Vectors for a batch. Raises OperatorRefused if the function cannot be loaded or breaks its contract."""
        if self.in_batches and len(assets) > 1:
            try:
                found = self.call(assets)
            except _USER_ERRORS:
                pass  # one by one finds out whose fault it was
            else:
                return Vectors([row.tobytes() for row in found], [None] * len(assets))
        values: list[bytes | None] = []
        problems: list[str | None] = []
        for data in assets:
            try:
                values.append(self.call([data])[0].tobytes())
                problems.append(None)
            except _USER_ERRORS as error:
                _tell(self.use, error)
                values.append(None)
                problems.append(f"{self.use} raised {type(error).__name__}: {_first_line(error)}")
        return Vectors(values, problems)

    def call(self, assets: Sequence[bytes]) -> Float32:
        """One call: float32 [n, d]. Lets through what the function raises; OperatorRefused for a wrong shape."""
        with _project_first(self.root):
            result = load(self.root, self.module, self.function)(list(assets), **json.loads(self.params))
        vectors = np.ascontiguousarray(np.asarray(result), dtype="<f4")
        if vectors.ndim != 2 or len(vectors) != len(assets) or not vectors.shape[1]:
            raise OperatorRefused(
                self.use, f"returned shape {vectors.shape} for {len(assets)} assets, expected ({len(assets)}, width)"
            )
        return vectors

    def is_batch_invariant(self, assets: Sequence[bytes]) -> bool:
        """Whether these assets give the same bits one by one, in sevens, all at once and in another order."""
        alone = [self.call([data]).tobytes() for data in assets]
        sevens = [
            row.tobytes() for start in range(0, len(assets), 7) for row in self.call(list(assets[start : start + 7]))
        ]
        together = [row.tobytes() for row in self.call(assets)]
        backwards = [row.tobytes() for row in self.call(list(assets)[::-1])][::-1]
        return alone == sevens == together == backwards


@contextmanager
def _project_first(root: str) -> Iterator[None]:
    """The user's code imports from its project, as a script there would; ours, before and after, never does."""
    before = list(sys.path)
    sys.path.insert(0, root)
    try:
        yield
    finally:
        if sys.path[:1] == [root]:
            del sys.path[0]
        else:  # the user's code changed it as well
            sys.path[:] = before


@lru_cache(maxsize=32)
def load(root: str, module: str, function: str) -> Extract:
    """The function itself, imported from below `root`. Raises OperatorRefused."""
    use = f"{module}:{function}"
    try:
        with _project_first(root):
            importlib.invalidate_caches()
            loaded = importlib.import_module(module)
    except _USER_ERRORS as error:
        _tell(use, error)
        raise OperatorRefused(use, f"cannot be loaded: {type(error).__name__}: {_first_line(error)}") from None
    origin = getattr(loaded, "__file__", None)
    if origin is None or not Path(origin).resolve().is_relative_to(Path(root).resolve()):
        raise OperatorRefused(use, f"the module {module!r} comes from {origin}, expected a file of the repository")
    found = getattr(loaded, function, None)
    if found is None:
        raise OperatorRefused(use, f"the module {module!r} has no {function!r}")
    if not callable(found):
        raise OperatorRefused(use, f"{function!r} is {type(found).__name__}, expected a function")
    return found  # type: ignore[no-any-return]  # checked to be callable


def _tell(use: str, error: BaseException) -> None:
    """The whole story in the log, once for each line that raised: ten thousand assets may fail in the same way."""
    frames = traceback.extract_tb(error.__traceback__)
    place = (use, type(error).__name__, *((frames[-1].filename, str(frames[-1].lineno)) if frames else ()))
    if place not in _told:
        _told.add(place)
        log.step("operator", "%s raised\n%s", use, "".join(traceback.format_exception(error)))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
