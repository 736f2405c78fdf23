"""Stages as `dvc.lock` says that they ran, beside what `dvc.yaml` declares now."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from datapin.checks.subject import Subject
from datapin.dvcfiles.pipelines import DeclaredStage
from datapin.dvcfiles.stages import LockEntry
from datapin.pins.files import beside


@dataclass(frozen=True, slots=True)
class RanStage:
    """A stage with an entry in the `dvc.lock` named `lock`; `declared` is None if no pipeline has it any more.

    `deps` and `outs` map paths below the root to MD5s.
    """

    name: str
    lock: str
    entry: LockEntry
    declared: DeclaredStage | None
    deps: Mapping[str, str | None]
    outs: Mapping[str, str | None]

    @property
    def where(self) -> str:
        """How findings call it."""
        return f"{beside(self.lock)}:{self.name}"

    @property
    def is_frozen(self) -> bool:
        """Whether it is kept as it ran, whatever its inputs are now."""
        return self.declared is not None and self.declared.is_frozen

    @property
    def repro(self) -> str:
        """The command that runs it again."""
        return repro_of(self.lock, self.name)

    @property
    def repro_anyway(self) -> str:
        """The command that runs it again though nothing that it read has changed."""
        return self.repro.replace("dvc repro", "dvc repro --force", 1)


def ran_stages(subject: Subject) -> list[RanStage]:
    """Every entry of every `dvc.lock` that can be read and that DVC looks at."""
    pipelines = subject.stages()
    declared = {(stage.file, stage.name): stage for stage in pipelines.stages}
    found = []
    for lock, entries in subject.entries().items():
        if beside(lock) in pipelines.ignored:
            continue
        for name, entry in entries.items():
            stage = declared.get((beside(lock), name))
            folder = stage.folder if stage is not None else posixpath.dirname(lock)
            deps, outs = ({_join(folder, path): md5 for path, md5 in one.items()} for one in (entry.deps, entry.outs))
            found.append(RanStage(name, lock, entry, stage, deps, outs))
    return found


def repro_of(lock: str, name: str) -> str:
    """The advice to run a stage again."""
    file = beside(lock)
    return f"run `dvc repro {shlex.quote(name if file == 'dvc.yaml' else f'{file}:{name}')}`"


def overlaps(path: str, other: str) -> bool:
    """Whether two paths are the same, or one lies below the other."""
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


def _join(folder: str, path: str) -> str:
    return path if "://" in path else posixpath.normpath(posixpath.join(folder, path))
