"""featurize: one vector of float32 per row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.errors import DamagedAsset, StageRefused, listed
from datapin.base.findings import Finding
from datapin.base.id_columns import ids_from_hex
from datapin.manifest.columns.columns import one_array
from datapin.manifest.manifest import Manifest
from datapin.pipeline.kinds.kind import kind_named
from datapin.pipeline.mapping.context import StageContext, StageReport
from datapin.pipeline.mapping.derived import rows_of
from datapin.pipeline.mapping.map import CHUNK_ROWS, Mapped, MapPlan, Rows, map_rows, name_damaged_row
from datapin.pipeline.mapping.output import open_input, output_place, previous_of, properties_from
from datapin.pipeline.mapping.work import CheckInvariance, ExtractFeatures, located
from datapin.pipeline.operators.features import Extractor, Features
from datapin.pipeline.operators.notes import note_findings
from datapin.pipeline.operators.recipe import RECIPE
from datapin.pipeline.operators.user_code import UserFunction
from datapin.pipeline.params.params import read_params
from datapin.pipeline.params.stages import (
    ExtractorParams,
    FeaturizeParams,
    UserFunctionParams,
)
from datapin.pipeline.record.fingerprint import (
    canonical_json,
    code_identity,
    declares_batch_invariance,
    file_hashes,
    library_versions,
    memo_key,
)
from datapin.pipeline.splits.leaks import leak_columns, refuse_leaks

STAGE = "featurize"
FEATURES = "features"
EXTRACTORS = "datapin.extractors"
"""The property of a features manifest that names its extractors, as a JSON list."""

_CHECKED_ASSETS = 32


def run_featurize(context: StageContext, params_file: Path) -> StageReport:
    """Run the stage with its section of the params file. Raises BadSettings, StageRefused and what storage raises."""
    return featurize(context, read_params(params_file, STAGE, FeaturizeParams))


def featurize(context: StageContext, params: FeaturizeParams) -> StageReport:
    """Run the stage: the output manifest is swapped in whole, or nothing changes."""
    operator = operator_of(params, context.root)
    with output_place(context, STAGE, params.output, [params.input]) as place:
        source = open_input(context, STAGE, params.input)
        if FEATURES in source.schema.names:
            raise StageRefused(STAGE, f"{params.input} has a column {FEATURES!r} already", "name another input")
        refuse_leaks(STAGE, params.input, source.to_table(leak_columns(source.schema.names)))
        operator, findings = _checked(operator, source, context)
        run = _Run(operator, params, context)
        extractors = canonical_json([one.identity()["use"] for one in operator.extractors])
        properties = {**properties_from(source, params.input), EXTRACTORS: extractors}
        if properties.pop(RECIPE, None) is not None:
            message = f"{params.input} is augmented while training reads images; features are of the images as stored"
            advice = "set mode: offline in augment's params to have features of augmented images"
            findings.append(Finding("warning", "recipe-not-in-features", params.output, message, advice))
        written = place.write(run.tables(source), properties, previous_of(context, params.output))
        findings += run.note_findings()
    return StageReport(STAGE, written.rows, run.computed, run.reused, 0, tuple(findings), written.digest)


class _Run:
    """The rows on their way through the stage, a chunk at a time."""

    def __init__(self, operator: Features, params: FeaturizeParams, context: StageContext) -> None:
        self._operator = operator
        self._params = params
        self._context = context
        self._width: int | None = None
        self._first_key = ""
        self.computed = 0
        self.reused = 0
        self._noted = pa.table({"key": pa.array([], pa.string()), "note": pa.array([], pa.string())})

    def note_findings(self) -> list[Finding]:
        """What was odd about the assets of all rows so far."""
        kinds = {one.KIND for one in self._params.extract if not isinstance(one, UserFunctionParams)}
        keys, notes = one_array(self._noted["key"]), one_array(self._noted["note"])
        return note_findings("-".join(sorted(kinds)), keys, notes, self._params.input)

    def tables(self, source: Manifest) -> Iterator[pa.Table]:
        """The rows with their features, in key order."""
        key = memo_key(self._operator.fingerprint, self._operator.environment)
        computation = ExtractFeatures(self._operator, self._context.store.root)
        plan = MapPlan(computation, key, makes_assets=False, title=STAGE, batch_assets=self._params.batch)
        waiting: list[pa.Table] = []
        mapped_rows = map_rows(
            _chunks(source, waiting),
            plan,
            self._context,
            self._context.engine(apart=has_user_code(self._operator)),
            total=source.rows,
        )
        for mapped in _with_rows_named(mapped_rows, source):
            self.computed += mapped.computed
            self.reused += mapped.reused
            noted = pa.table({"key": mapped.rows.keys, "note": mapped.notes}).filter(mapped.notes.is_valid())
            self._noted = pa.concat_tables([self._noted, noted])
            yield waiting.pop(0).append_column(FEATURES, self._column(mapped))

    def _column(self, mapped: Mapped) -> pa.Array:
        _refuse_problems(mapped)
        values = mapped.values
        offsets = np.frombuffer(values.buffers()[1], dtype=np.int32)[values.offset : values.offset + len(values) + 1]
        widths = np.diff(offsets) // 4
        if self._width is None:
            self._width, self._first_key = int(widths[0]), mapped.rows.keys[0].as_py()
        odd = np.flatnonzero(widths != self._width)
        if len(odd):
            row = int(odd[0])
            raise StageRefused(
                STAGE,
                f"row {mapped.rows.keys[row].as_py()} has {widths[row]} features, {self._first_key} has {self._width}",
                "all assets need one shape; images: set resize and mode in params.yaml, for prepare or this extractor",
            )
        flat = np.frombuffer(values.buffers()[2], dtype="<f4", count=len(values) * self._width, offset=int(offsets[0]))
        _refuse_not_finite(flat.reshape(len(values), self._width), mapped.rows)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), self._width)


def _chunks(source: Manifest, waiting: list[pa.Table]) -> Iterator[Rows]:
    """The rows to map; their tables wait for the results."""
    for shard in source.iter_tables():
        for start in range(0, shard.num_rows, CHUNK_ROWS):
            table = shard.slice(start, CHUNK_ROWS)
            waiting.append(table)
            yield rows_of(table)


def _with_rows_named(mapped_rows: Iterator[Mapped], source: Manifest) -> Iterator[Mapped]:
    try:
        yield from mapped_rows
    except DamagedAsset as error:
        table = source.to_table(["key", "asset_id"])
        raise name_damaged_row(error, one_array(table["key"]), one_array(table["asset_id"])) from None


def _refuse_problems(mapped: Mapped) -> None:
    broken = mapped.problems.is_valid()
    keys, problems = mapped.rows.keys.filter(broken).to_pylist(), mapped.problems.filter(broken).to_pylist()
    if keys:
        named = [f"{key} ({problem})" for key, problem in zip(keys, problems, strict=True)]
        raise StageRefused(
            STAGE,
            f"{len(keys)} row(s) have no features: {listed(named, 5)}",
            "let prepare drop broken assets (on_broken: drop), or correct the extractor",
        )


def _refuse_not_finite(vectors: npt.NDArray[np.float32], rows: Rows) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        keys = rows.keys.take(pa.array(bad[:20])).to_pylist()
        raise StageRefused(
            STAGE,
            f"{len(bad)} row(s) have features that are not numbers (NaN or infinity): {listed(keys, 5)}",
            "correct the extractor, or remove these rows with `datapin remove`",
        )


def operator_of(params: FeaturizeParams, root: Path) -> Features:
    """What the stage applies to each asset; code of the user's lies below `root`. Raises OperatorRefused."""
    return Features(tuple(_extractor(one, root) for one in params.extract))


def _extractor(params: ExtractorParams, root: Path) -> Extractor | UserFunction:
    if isinstance(params, UserFunctionParams):
        return _user_function(params, root)
    return kind_named(params.KIND).extractor(params)


def _user_function(params: UserFunctionParams, root: Path) -> UserFunction:
    module, function = params.use.split(":")
    code = {
        "code": code_identity(root, module, function, params.use),
        "libraries": library_versions(params.libraries, params.use),
        "inputs": file_hashes(root, params.inputs, params.use),
    }
    return UserFunction(str(root), module, function, canonical_json(params.params), canonical_json(code))


def has_user_code(operator: Features) -> bool:
    """Whether some extractor is the user's: that never runs in this process, where more threads may give other bits."""
    return any(isinstance(one, UserFunction) for one in operator.extractors)


def _checked(operator: Features, source: Manifest, context: StageContext) -> tuple[Features, list[Finding]]:
    """The operator, with user functions called in batches where that was declared and holds for a sample."""
    findings: list[Finding] = []
    extractors: list[Extractor | UserFunction] = []
    for extractor in operator.extractors:
        if isinstance(extractor, UserFunction) and declares_batch_invariance(
            context.root, extractor.module, extractor.function, extractor.use
        ):
            extractor = replace(extractor, in_batches=_is_invariant(extractor, source, context))
            if not extractor.in_batches:
                message = f"{extractor.use} gives other bits in other batches and was called with one asset at a time"
                advice = "remove batch_invariant = True, or make its arithmetic independent of the batch"
                findings.append(Finding("warning", "not-batch-invariant", extractor.use, message, advice))
        extractors.append(extractor)
    return Features(tuple(extractors)), findings


def _is_invariant(function: UserFunction, source: Manifest, context: StageContext) -> bool:
    sample = _sample(source)
    present = sample[~context.store.missing(sample)]  # what is missing is named, by its row, when it is needed
    batch = located(context.store, present, (0,) * len(present))
    computation = CheckInvariance(function, context.store.root)
    ((_, is_invariant),) = context.engine(apart=True).run(computation, [(None, batch)])
    return bool(is_invariant)


def _sample(source: Manifest) -> npt.NDArray[np.uint8]:
    """Assets spread over the first shard: the same for the same rows."""
    column = one_array(next(iter(source.iter_tables(["asset_id"])))["asset_id"])
    step = max(1, len(column) // _CHECKED_ASSETS)
    return ids_from_hex(column.take(pa.array(np.arange(0, len(column), step)[:_CHECKED_ASSETS])))
