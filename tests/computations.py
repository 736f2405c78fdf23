"""A computation for tests of engines; a module of its own, since worker processes import it by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.operator import Vectors
from datapin.pipeline.operators.user_code import UserFunction


@dataclass(frozen=True)
class Square:
    """Squares numbers; words make it misbehave."""

    folder: str = ""

    def begin(self) -> Callable[[Any], Any]:
        return self.compute

    def compute(self, item: Any) -> Any:
        if isinstance(item, int):
            return item * item
        match item:
            case "pid":
                return os.getpid()
            case "threads":
                return os.environ.get("OPENBLAS_NUM_THREADS")
            case "sleep":
                time.sleep(600)
                Path(self.folder, "woke").touch()
            case "refuse":
                raise OperatorRefused("square", "no")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "die once" if not (mark := Path(self.folder, "died")).exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "bug":
                raise ZeroDivisionError
        return item


@dataclass(frozen=True)
class Extraction:
    """What an operator of the user's makes of batches."""

    function: UserFunction

    def begin(self) -> Callable[[list[bytes]], Vectors]:
        return self.function.extract


def number_and_label(data: bytes, row: dict[str, Any]) -> tuple[int, str]:
    """A sample of rows that a data loader reads."""
    return int(data[4:]), row["label"]
