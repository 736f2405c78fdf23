"""Where a stage's manifest goes: written aside, then swapped in, so that it is there whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from datapin.base import failpoints
from datapin.base.documents import read_json
from datapin.base.errors import DatapinError, StageRefused, StorageFailed
from datapin.base.files import lock, make_directory, sweep_temporaries, temporary_name
from datapin.base.journals import Anchors, finish_swap, swap_directory
from datapin.base.state import folder_to_stage, state_of
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.record.fingerprint import INPUTS, canonical_json

_LOCK_TIMEOUT_S = 5.0


def open_input(context: StageContext, stage: str, dataset: str) -> Manifest:
    """The stage's input. Raises ManifestMissing or DamagedManifest; StageRefused if it has no rows."""
    manifest = Manifest.open(context.root / dataset, dataset)
    if not manifest.rows:
        raise StageRefused(stage, f"{dataset} has no rows", "add data with `datapin add`, or check the stage before")
    return manifest


def previous_of(context: StageContext, dataset: str) -> Manifest | None:
    """The output's last version: the one that still lies there, else the committed one; None if there is none."""
    try:
        if (context.root / dataset).is_dir():
            return Manifest.open(context.root / dataset, dataset)
        return context.previous_output(dataset)
    except DatapinError:
        # It would only have saved work and given a comparison; the stage writes a new one anyway.
        return None


def inputs_of(manifest: Manifest) -> dict[str, str]:
    """The digests of the datasets that it says it was made from; none if it does not say so."""
    try:
        inputs = read_json(manifest.properties.get(INPUTS, "{}"), INPUTS)
    except ValueError:
        return {}
    return {str(name): str(digest) for name, digest in inputs.items()} if isinstance(inputs, dict) else {}


def properties_from(source: Manifest, dataset: str) -> dict[str, str]:
    """What an output inherits from its input, and the digests of everything it is made from."""
    return {**source.properties, INPUTS: canonical_json({**inputs_of(source), dataset: source.digest})}


class OutputPlace:
    """The place of one output while its stage runs."""

    def __init__(self, context: StageContext, dataset: str) -> None:
        self._target = context.root / dataset
        self._scratch = state_of(context.root).scratch
        self._anchors = Anchors(context.root, self._scratch)
        name = hashlib.sha256(dataset.encode()).hexdigest()[:16]
        self.lock_path = self._scratch / f"stage-{name}.lock"
        self._journal = self._scratch / f"swap-{name}.json"

    def recover(self) -> None:
        """Finish what a crash left, and sweep up."""
        make_directory(self._scratch)
        finish_swap(self._journal, self._anchors)
        sweep_temporaries(self._scratch)

    def write(
        self, tables: pa.Table | Iterable[pa.Table], properties: Mapping[str, str], previous: Manifest | None
    ) -> Manifest:
        """Write the rows aside, then put them in the place of the old output; the manifest as it lies there."""
        staged = folder_to_stage(self._scratch, self._target) / temporary_name()
        try:
            write_manifest(tables, staged, properties=properties, previous=previous)
            failpoints.hit("stage.output.staged")
            swap_directory(staged, self._target, self._journal, self._anchors)
        finally:
            if not self._journal.exists():
                shutil.rmtree(staged, ignore_errors=True)
        return Manifest.open(self._target)


@contextmanager
def output_place(context: StageContext, stage: str, dataset: str, inputs: Iterable[str]) -> Iterator[OutputPlace]:
    """The place of the output `dataset`, held against other runs.

    Raises StageRefused if writing there would destroy something else, Locked if another run is writing it,
    StorageFailed for whatever the file system refuses meanwhile.
    """
    for other in inputs:
        if f"{dataset}/".startswith(f"{other}/") or f"{other}/".startswith(f"{dataset}/"):
            raise StageRefused(stage, f"its output {dataset} and its input {other} overlap", "name another output")
    place = OutputPlace(context, dataset)
    try:
        with lock(place.lock_path, what=f"the output {dataset}", timeout_s=_LOCK_TIMEOUT_S):
            place.recover()
            _check_replaceable(context.root / dataset, stage, dataset)
            yield place
    except OSError as error:
        path = str(error.filename) if error.filename else dataset
        raise StorageFailed(action="read or write", path=path, problem=error.strerror or str(error)) from None


def _check_replaceable(target: Path, stage: str, dataset: str) -> None:
    if target.with_name(f"{target.name}.dvc").exists():
        advice = "name another output; change source datasets with `datapin add` and `datapin update`"
        raise StageRefused(stage, f"its output {dataset} is a source dataset ({dataset}.dvc)", advice)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise StageRefused(
            stage, f"its output {dataset} exists and is not a folder", "remove it or name another output"
        )
    if target.is_dir():
        strange = sorted(entry.name for entry in target.iterdir() if entry.suffix != ".parquet")
        if strange:
            raise StageRefused(
                stage,
                f"its output {dataset} holds {strange[0]!r}, which is not part of a manifest and would be lost",
                "move it away or name another output",
            )
