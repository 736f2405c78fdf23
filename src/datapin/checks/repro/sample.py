"""Some rows of each stage that maps rows, chosen at random and computed again; and what that says about all rows."""

from __future__ import annotations

import hashlib
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadSettings, DatapinError, ManifestMissing
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix, ids_from_hex, ids_to_hex
from datapin.checks.repro.clone import CleanClone, clean_clone, lay_out
from datapin.checks.repro.difference import CLOSE_ROWS
from datapin.checks.repro.environment import differing_causes
from datapin.checks.repro.outputs import PinnedOutputs
from datapin.checks.repro.tables import CellGaps
from datapin.dvcfiles.stages import LockedFile, LockedStage
from datapin.git.ask import blob_at
from datapin.manifest.columns.columns import one_array
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of as rows_by_key
from datapin.pipeline.kinds.kind import kind_named
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.derived import PIXELS, derive_assets
from datapin.pipeline.mapping.map import MapPlan, Rows, map_rows
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.mapping.work import ExtractFeatures
from datapin.pipeline.operators.operator import AssetOperator
from datapin.pipeline.operators.partners import PARTNER, with_partner
from datapin.pipeline.params.params import ParamsSection, parse_yaml, validate_params
from datapin.pipeline.params.stages import AugmentParams, FeaturizeParams, PrepareParams
from datapin.pipeline.record.fingerprint import memo_key
from datapin.pipeline.stages import augment, featurize, prepare
from datapin.store.lending import lend

_CONFIDENCE = 0.95
_COPY = re.compile(r"~([0-9]+)\.[a-z0-9]+\Z")
_HINT = "run `datapin verify --repro` to see all that differs, and `datapin doctor` for what is not as recorded here"

Given = TypeVar("Given", bound=ParamsSection)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Rows of a stage's output that it computed, and how: `rows` names the assets it read."""

    rows: Rows
    expected: pa.Table  # key, then the columns to compare
    population: int
    compute: Callable[[Rows, StageContext], pa.Table]  # the same columns, or `problem` in place of a value


def rerun_sample(pinned: PinnedOutputs, count: int, check: str) -> Iterator[Finding]:
    """Compute up to `count` rows of each map stage again; notes say which rows that were and what follows from them."""
    subject = pinned.subject
    stages = [(stage, _call(pinned, stage)) for stage in pinned.stages]
    others = [stage.name for stage, call in stages if call is None]
    if others:
        subject.notes.append(f"not sampled, since they do not work row by row: {', '.join(others)}")
    with clean_clone(pinned) as clone:
        for number, (stage, call) in enumerate(stages):
            if call is None:
                continue
            try:
                yield from _check_stage(pinned, clone, stage, *call, count=count, check=check, place=str(number))
            except DatapinError as error:
                message = f"could not be checked: {error.message}"
                yield Finding("error", check, f"stage {stage.name}", message, error.hint)


def fewer_than(rows: int) -> float:
    """The share of rows that differ is below this with 95 % confidence, if `rows` chosen at random are all equal.

    If a share p differed, that many draws would all miss them with a chance of (1 - p)^rows; Hanley &
    Lippman-Hand 1983, about 3 / rows.
    """
    return float(1.0 - (1.0 - _CONFIDENCE) ** (1.0 / rows))


def _check_stage(
    pinned: PinnedOutputs,
    clone: CleanClone,
    stage: LockedStage,
    name: str,
    params_file: str,
    *,
    count: int,
    check: str,
    place: str,
) -> Iterator[Finding]:
    subject = pinned.subject
    seed = hashlib.sha256(f"{pinned.commit}\0{stage.name}".encode()).hexdigest()[:16]
    chooser = _Chooser(pinned, clone, stage, params_file, count, np.random.default_rng(int(seed, 16)))
    sample = {"prepare": chooser.prepared, "augment": chooser.augmented, "featurize": chooser.featurized}[name]()
    if isinstance(sample, str):
        subject.notes.append(f"{stage.name}: {sample}")
        return
    if not len(sample.rows):
        message = "none of its rows was made as the params say, so nothing could be computed again"
        yield Finding("error", check, f"stage {stage.name}", message, "run `dvc repro`, then commit dvc.lock")
        return
    read = sample.rows.ids
    if sample.rows.partners is not None:
        read = np.concatenate([read, sample.rows.partners])
    ids = np.unique(read.view("V32").reshape(-1)).view(np.uint8).reshape(-1, read.shape[1])
    subject.ensure(ids, f"rows of {stage.name}")
    store = lend(subject.store, ids, clone.scratch / f"store-{place}")
    context = StageContext(clone.root, store, Memo(clone.scratch / f"memo-{place}"), clone.jobs, subject.progress)
    again = sample.compute(sample.rows, context)
    gaps = CellGaps(CLOSE_ROWS)
    gaps.add(sample.rows.keys, sample.expected, again)
    size, said = len(sample.rows), f"{len(sample.rows)} of {sample.population} row(s)"
    chosen = f"(chosen with seed {seed}, from the commit)"
    if gaps.first is not None:
        key, cell = gaps.first
        message = f"{gaps.rows} of {size} row(s) computed again differ {chosen}, first {key}: {cell}{gaps.numbers.text}"
        causes = differing_causes(pinned) if gaps.are_close else []
        if causes:
            message += f": likely for {', '.join(causes)}"
        yield Finding("warning" if causes else "error", check, f"stage {stage.name}", message, _HINT)
        return
    bound = "all rows are equal"
    if size < sample.population:
        bound = f"all equal, so with 95 % confidence fewer than {100 * fewer_than(size):.2g} % of the rows differ"
    subject.notes.append(f"{stage.name}: {said} computed again {chosen}, {bound}")


@dataclass(slots=True)
class _Chooser:
    """Chooses rows of one stage's output and says how the stage came to them."""

    pinned: PinnedOutputs
    clone: CleanClone
    stage: LockedStage
    params_file: str
    count: int
    random: np.random.Generator

    def prepared(self) -> _Sample | str:
        """Rows of prepare: each from the row of its key in the input."""
        params = self._params(PrepareParams, prepare.STAGE)
        source, output = self._manifest(params.input), self._manifest(params.output)
        table = output.to_table(_some(output, ["key", "asset_id", PIXELS, "media_type"]))
        kind = kind_named(params.kind)
        if not params.makes_assets:
            if "media_type" not in table.column_names:
                return f"no row says that it is of kind {kind.name}, so none was looked at"
            kinds = one_array(table["media_type"]).cast(pa.string())
            table = table.filter(pc.is_in(kinds, value_set=pa.array(sorted(kind.media_types))))
        chosen = self._choose(table)
        wanted = pa.schema(
            [pa.field("key", pa.string()), pa.field("asset_id", pa.string()), pa.field("size", pa.int64())]
        )
        read = rows_by_key(source, one_array(chosen["key"]), wanted)
        if len(read) != len(chosen):
            raise BadSettings(params.output, "", f"holds rows that {params.input} does not have", _HINT)
        operator = kind.prepare(params)
        return self._assets(chosen, ids_from_hex(read["asset_id"]), _zeros(len(read)), len(table), operator)

    def augmented(self) -> _Sample | str:
        """Rows of augment: each from its parent's asset and its own number."""
        params = self._params(AugmentParams, augment.STAGE)
        if params.mode == "online":
            return "only a recipe was written, so there are no rows to compute again"
        operator = kind_named(params.kind).copy(params, self.pinned.subject.root)
        output = self._manifest(params.output)
        table = output.to_table(_some(output, ["key", "asset_id", PIXELS, "parent_id", PARTNER, "operator"]))
        if not {"parent_id", "operator"} <= set(table.column_names) and not params.copies:
            return "no copies were asked for"
        made = (
            pc.equal(one_array(table["operator"]), operator.fingerprint) if "operator" in table.column_names else None
        )
        table = table.filter(made) if made is not None else table.slice(0, 0)
        chosen = self._choose(table)
        numbers = [_COPY.search(key) for key in chosen["key"].to_pylist()]
        copies = np.array([int(one[1]) if one else 0 for one in numbers], dtype=np.int64)
        ids = ids_from_hex(chosen["parent_id"]) if len(chosen) else np.empty((0, 32), dtype=np.uint8)
        partners = None
        if with_partner(operator) is not None:
            if PARTNER not in chosen.column_names or chosen[PARTNER].null_count:
                raise BadSettings(params.output, "", "holds copies that do not name their partners", _HINT)
            partners = ids_from_hex(chosen[PARTNER]) if len(chosen) else ids
        return self._assets(chosen, ids, copies, len(table), operator, partners)

    def featurized(self) -> _Sample | str:
        """Rows of featurize: each from its own asset."""
        params = self._params(FeaturizeParams, featurize.STAGE)
        for dep in self.stage.deps:  # what a function of the user's reads beside the assets
            if dep.path != params.input and not (self.clone.root / dep.path).exists():
                pin = self._pin(dep.path)
                if pin is not None:
                    lay_out(self.pinned, pin, self.clone.root)
        operator = featurize.operator_of(params, self.clone.root)
        output = self._manifest(params.output)
        table = output.to_table(["key", "asset_id", "size", featurize.FEATURES])
        chosen = self._choose(table)
        kind = chosen.schema.field(featurize.FEATURES).type

        def compute(rows: Rows, context: StageContext) -> pa.Table:
            key = memo_key(operator.fingerprint, operator.environment)
            plan = MapPlan(ExtractFeatures(operator, context.store.root), key, makes_assets=False, title="sample")
            engine = context.engine(apart=featurize.has_user_code(operator))
            mapped = list(map_rows(rows.chunks(), plan, context, engine, total=len(rows)))
            return pa.table({"key": rows.keys, featurize.FEATURES: _vectors(mapped, kind)})

        ids = ids_from_hex(chosen["asset_id"])
        rows = Rows(one_array(chosen["key"]), ids, _zeros(len(ids)), one_array(chosen["size"]).to_numpy())
        return _Sample(rows, chosen.select(["key", featurize.FEATURES]), len(table), compute)

    def _assets(
        self,
        chosen: pa.Table,
        ids: IdMatrix,
        copies: npt.NDArray[np.int64],
        population: int,
        operator: AssetOperator,
        partners: IdMatrix | None = None,
    ) -> _Sample:
        names = _some(chosen, ["key", "asset_id", PIXELS])

        def compute(rows: Rows, context: StageContext) -> pa.Table:
            derived = derive_assets(rows, operator, context, title="sample")
            is_good = pc.invert(derived.problems.is_valid())
            results = derived.results
            made = pc.if_else(is_good, ids_to_hex(np.ascontiguousarray(results["id"])), derived.problems)
            columns = {"key": rows.keys, "asset_id": made}
            if PIXELS in names:
                pixels = ids_to_hex(np.ascontiguousarray(results["pixels"]))
                was = one_array(chosen[PIXELS])
                columns[PIXELS] = pc.if_else(pa.array(results["has_pixels"]), pixels, was)
            return pa.table(columns)

        rows = Rows(one_array(chosen["key"]), ids, copies, np.full(len(ids), 1 << 16, dtype=np.int64), partners)
        return _Sample(rows, chosen.select(names), population, compute)

    def _choose(self, table: pa.Table) -> pa.Table:
        places = self.random.choice(table.num_rows, size=min(self.count, table.num_rows), replace=False)
        return table.take(pa.array(np.sort(places)))

    def _params(self, model: type[Given], section: str) -> Given:
        data = blob_at(self.pinned.subject.root, self.pinned.commit, self.params_file)
        if data is None:
            raise BadSettings(self.params_file, "", "no such file in this commit")
        given = parse_yaml(data, self.params_file).get(section)
        return validate_params({} if given is None else given, self.params_file, section, model)

    def _manifest(self, path: str) -> Manifest:
        pin = self._pin(path)
        if pin is None:
            raise ManifestMissing(path, "a pin in this commit")
        return self.pinned.manifest(pin, self.clone.scratch / "pinned")

    def _pin(self, path: str) -> LockedFile | None:
        found = [out for stage in self.pinned.stages for out in stage.outs if out.path == path]
        return found[0] if found else self.pinned.sources.get(path)


def _call(pinned: PinnedOutputs, stage: LockedStage) -> tuple[str, str] | None:
    """The map stage that the command runs, and the path of its params file; None if it runs something else."""
    try:
        words = shlex.split(stage.command)
    except ValueError:
        return None
    if len(words) < 3 or posixpath.basename(words[0]) != "datapin" or words[1] != "run":
        return None
    name, params = words[2], "params.yaml"
    for place, word in enumerate(words[3:], start=3):
        if word == "--params" and place + 1 < len(words):
            params = words[place + 1]
        elif word.startswith("--params="):
            params = word.partition("=")[2]
    if name not in (prepare.STAGE, augment.STAGE, featurize.STAGE):
        return None
    return name, posixpath.normpath(posixpath.join(pinned.folder_of(stage), params))


def _vectors(mapped: list[Any], kind: pa.DataType) -> pa.Array:
    """The vectors as a column of the type `kind` where they have its width; else as text that tells why not."""
    values = pa.concat_arrays([one.values for one in mapped])
    problems = pa.concat_arrays([one.problems for one in mapped])
    width = kind.list_size
    told = [
        problem if problem is not None else (None if len(value) == 4 * width else f"{len(value) // 4} numbers")
        for value, problem in zip(values.to_pylist(), problems.to_pylist(), strict=True)
    ]
    if any(text is not None for text in told):
        return pa.array([text or "a vector" for text in told], pa.string())
    flat = np.frombuffer(b"".join(values.to_pylist()), dtype="<f4")
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), width)


def _some(table: pa.Table | Manifest, names: list[str]) -> list[str]:
    return [name for name in names if name in table.schema.names]


def _zeros(count: int) -> npt.NDArray[np.int64]:
    return np.zeros(count, dtype=np.int64)
