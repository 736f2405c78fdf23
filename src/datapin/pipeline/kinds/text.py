"""Texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from datapin.base.findings import Finding
from datapin.manifest.columns.columns import Mask
from datapin.pipeline.kinds.kind import DataKind
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.operators.text.augment_text import AugmentText, read_synonyms
from datapin.pipeline.operators.text.extractors import Ngrams
from datapin.pipeline.operators.text.look import text_looks
from datapin.pipeline.operators.text.prepare import NormaliseText
from datapin.pipeline.params.text import NgramsParams, TextAugmentParams, TextPrepareParams
from datapin.pipeline.splits.near_texts import near_text_findings


def _prepare(params: TextPrepareParams) -> NormaliseText:
    return NormaliseText(
        params.encoding, params.normal, params.spaces, params.lowercase, params.min_chars, params.max_chars
    )


def _copy(params: TextAugmentParams, root: Path) -> AugmentText:
    if params.operators.synonyms is None:
        return AugmentText(params.operators, params.seed)
    synonyms, dictionary = read_synonyms(root, params.operators.synonyms.file)
    return AugmentText(params.operators, params.seed, synonyms, dictionary)


def _extractor(params: NgramsParams) -> Ngrams:
    return Ngrams(params.level, params.low, params.high, params.size, params.norm, params.signed, params.lowercase)


def _all_rows(table: pa.Table, context: StageContext) -> Mask:
    return np.ones(table.num_rows, dtype=bool)


def _findings(table: pa.Table, params: TextPrepareParams, context: StageContext) -> list[Finding]:
    if params.near_duplicates == "none":
        return []
    return near_text_findings(table, params.near_duplicates, params.output, context)


KIND = DataKind(
    name="text",
    noun="text",
    media_types=frozenset({"text/plain", "text/markdown", "text/html"}),
    media_type="text/plain",
    ending=".txt",
    endings=r"txt|text|md|html?",
    prepare=_prepare,
    copy=_copy,
    extractor=_extractor,
    rows_to_decode=_all_rows,
    findings=_findings,
    looks=text_looks,
)
