"""Recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from datapin.manifest.columns.columns import Mask
from datapin.pipeline.kinds.kind import DataKind
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.operators.audio.augment_audio import AugmentAudio
from datapin.pipeline.operators.audio.containers import AUDIO_MEDIA_TYPES
from datapin.pipeline.operators.audio.extractors import AudioStatistics, LogMel, Mfcc
from datapin.pipeline.operators.audio.libraries import need_libraries
from datapin.pipeline.operators.audio.prepare import NormaliseAudio
from datapin.pipeline.operators.audio.spectrogram import recording_looks
from datapin.pipeline.operators.features import Extractor
from datapin.pipeline.params.audio import (
    AudioAugmentParams,
    AudioPrepareParams,
    AudioStatisticsParams,
    LogMelParams,
    MfccParams,
)

need_libraries()


def _prepare(params: AudioPrepareParams) -> NormaliseAudio:
    trim_db = None if params.trim == "none" else params.trim
    return NormaliseAudio(params.rate, trim_db, params.length_s, params.align, params.min_s, params.max_s)


def _copy(params: AudioAugmentParams, root: Path) -> AugmentAudio:
    return AugmentAudio(params.operators, params.seed)


def _extractor(params: LogMelParams | MfccParams | AudioStatisticsParams) -> Extractor:
    frames = (params.summary, params.window_ms, params.hop_ms)
    if isinstance(params, AudioStatisticsParams):
        return AudioStatistics(*frames)
    bands = (params.bands, params.low_hz, params.high_hz)
    return Mfcc(*frames, *bands, params.coefficients) if isinstance(params, MfccParams) else LogMel(*frames, *bands)


def _all_rows(table: pa.Table, context: StageContext) -> Mask:
    return np.ones(table.num_rows, dtype=bool)


KIND = DataKind(
    name="audio",
    noun="recording",
    media_types=AUDIO_MEDIA_TYPES,
    media_type="audio/wav",
    ending=".wav",
    endings=r"wav|flac|ogg|oga|opus|mp3",
    prepare=_prepare,
    copy=_copy,
    extractor=_extractor,
    rows_to_decode=_all_rows,
    looks=recording_looks,
)
