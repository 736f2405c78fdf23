"""What a training leaves: written together, or not at all.

The run record disappears first and comes back last, so where there is one, every file it names is there and is the one
it names; a killed training leaves old or new files, never halves.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from datapin.base import failpoints
from datapin.base.errors import StorageFailed
from datapin.base.files import (
    fsync_directory,
    lock,
    make_directory,
    publish_file,
    sweep_temporaries,
    temporary_name,
    write_all,
)
from datapin.base.state import state_of
from datapin.pipeline.record.environment_file import environment_path, read_environments, with_environment
from datapin.pipeline.record.record import RECORD, TrainRun, describe_environment, encode_record
from datapin.pipeline.training.plots import PLOT_FILES

PLOTS = "plots"
_LOCK_TIMEOUT_S = 60.0


def write_run(root: Path, run: TrainRun, outputs: Mapping[str, bytes], reports: str) -> dict[str, str]:
    """Write the outputs (bytes by path), the run record and the environment that they were made in; their SHA-256.

    Raises StorageFailed; then nothing has changed, or the record is not there.
    """
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in outputs.items()}
    record = f"{reports}/{RECORD}"
    environments = environment_path(record)
    told = with_environment(read_environments(root / environments), hashes, describe_environment())
    beside = {} if told is None else {environments: told}
    _write_outputs(root, {**outputs, **beside}, record, encode_record(run, hashes))
    return hashes


def _write_outputs(root: Path, outputs: Mapping[str, bytes], record: str, record_data: bytes) -> None:
    scratch = state_of(root).scratch
    with lock(scratch / "stage-train.lock", what="the output of train", timeout_s=_LOCK_TIMEOUT_S):
        sweep_temporaries(scratch)
        _replace_outputs(root, scratch / temporary_name(), outputs, record, record_data)


def _replace_outputs(root: Path, staging: Path, outputs: Mapping[str, bytes], record: str, record_data: bytes) -> None:
    path = record
    try:
        make_directory(staging)
        staged = {}
        for path, data in {**outputs, record: record_data}.items():
            staged[path] = _stage(staging, root / path, data)
        failpoints.hit("train.staged")
        (root / record).unlink(missing_ok=True)
        fsync_directory((root / record).parent)
        _remove_old_plots(root, outputs)
        for path, temporary in staged.items():  # the record is the last
            publish_file(temporary, root / path, failpoint="train.publish")
    except OSError as error:
        raise StorageFailed(action="write", path=path, problem=error.strerror or str(error)) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _stage(staging: Path, target: Path, data: bytes) -> Path:
    make_directory(target.parent)
    # Asked before the first file takes its place: a folder that refuses would leave a mix.
    is_folder = target.parent.is_dir()
    if not is_folder or not os.access(target.parent, os.W_OK):
        number = errno.EACCES if is_folder else errno.ENOTDIR
        raise OSError(number, os.strerror(number))
    same_device = staging.stat().st_dev == target.parent.stat().st_dev
    temporary = (staging if same_device else target.parent) / temporary_name()
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        write_all(number, data)
        os.fsync(number)
    finally:
        os.close(number)
    return temporary


def _remove_old_plots(root: Path, outputs: Mapping[str, bytes]) -> None:
    """The plots of the other task; files of the user's own stay."""
    for folder in {(root / path).parent for path in outputs if Path(path).name in PLOT_FILES}:
        for name in PLOT_FILES:
            if (folder / name).relative_to(root).as_posix() not in outputs:
                (folder / name).unlink(missing_ok=True)
