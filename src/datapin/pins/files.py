"""The files that pin, one at a time: which they are, what each says, and where stages run."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from datapin.dvcfiles.outs import PinnedOut, read_lock, read_pointer
from datapin.dvcfiles.texts import stage_outputs

LOCK, PIPELINE, POINTER, PROJECT = "dvc.lock", "dvc.yaml", ".dvc", ".dvc/config"

_TEMPLATE = re.compile(rb"wdir[\"']?\s*:[^\n]*\$\{")


class WorkingFolders:
    """Where stages run: the `wdir` of each, by the `dvc.yaml` beside its `dvc.lock`; templates are filled in by DVC."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, bytes, str | None], Mapping[str, str]] = {}

    @staticmethod
    def are_templates(pipeline: bytes) -> bool:
        """Whether a `wdir` of this pipeline says something else at another commit."""
        return _TEMPLATE.search(pipeline) is not None

    def of(self, pipeline_file: str, pipeline: bytes, commit: str | None) -> Mapping[str, str]:
        """As `dvcfiles.texts.folder_of` wants them; `pipeline` is the text, as of `commit` or of the work tree (None).

        Raises BadSettings, Refused, ToolFailed.
        """
        if b"wdir" not in pipeline:
            return {}
        is_template = self.are_templates(pipeline)
        key = (pipeline_file, pipeline, commit if is_template else None)
        if key not in self._known or (is_template and commit is None):
            if is_template:
                from datapin.dvcfiles.pipelines import working_folders  # late: templates are rare (decision 0015)

                self._known[key] = working_folders(self._root, commit, pipeline_file)
            else:
                self._known[key] = stage_outputs(pipeline, pipeline_file)[0]
        return self._known[key]


def outs_in(file: str, text: bytes, folders: Mapping[str, str]) -> list[PinnedOut]:
    """What one pointer, a `.dvc` file or a `dvc.lock`, pins. Raises BadSettings, Refused."""
    return read_lock(text, file, folders) if is_lock(file) else read_pointer(text, file)


def is_lock(file: str) -> bool:
    """Whether it is a `dvc.lock`."""
    return posixpath.basename(file) == LOCK


def beside(lock: str) -> str:
    """The `dvc.yaml` that a `dvc.lock` belongs to."""
    return posixpath.join(posixpath.dirname(lock), PIPELINE)


def is_pointer(file: str) -> bool:
    """Whether it is a `.dvc` file."""
    name = posixpath.basename(file)
    return name.endswith(POINTER) and name != POINTER


def folders_above(path: str) -> list[str]:
    """The folders around a path below the root, the nearest first; not the root."""
    return [folder.as_posix() for folder in PurePosixPath(path).parents][:-1]


def bytes_here(path: Path) -> bytes | None:
    """The bytes of a file of the work tree, None if there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def inner_projects(names: Sequence[str]) -> tuple[str, ...]:
    """The folders, with a `/` at the end, of the DVC projects further down whose settings are among `names`."""
    return tuple(name.removesuffix(PROJECT) for name in names if name.endswith(f"/{PROJECT}"))
