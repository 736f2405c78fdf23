"""Recordings: read within bounds, brought to one form, copied with changes, measured as SciPy measures them."""

from __future__ import annotations

import hashlib
import io
import locale
import random
import struct
import subprocess
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import scipy.signal
import soundfile

from datapin.base.errors import BadSettings, OperatorRefused, Usage
from datapin.pipeline.kinds.kind import kind_named
from datapin.pipeline.mapping.context import StageReport
from datapin.pipeline.operators.audio.augment import AudioDraw, AudioOperators, FrequencyMask, WhiteNoise
from datapin.pipeline.operators.audio.augment_audio import AugmentAudio
from datapin.pipeline.operators.audio.extractors import AudioStatistics, LogMel, Mfcc
from datapin.pipeline.operators.audio.libraries import need_libraries
from datapin.pipeline.operators.audio.prepare import NormaliseAudio
from datapin.pipeline.operators.audio.reading import quantised, read_audio, wave_bytes
from datapin.pipeline.operators.audio.stretching import stretched
from datapin.pipeline.operators.features import Features
from datapin.pipeline.operators.operator import AssetBroken
from datapin.pipeline.operators.recipe import apply_recipe, read_recipe, recipe_of
from datapin.pipeline.params.params import validate_params
from datapin.pipeline.params.stages import AugmentParams, FeaturizeParams, PrepareParams, refuse_other_kinds
from datapin.pipeline.stages.augment import run_augment
from datapin.pipeline.stages.featurize import run_featurize
from datapin.pipeline.stages.prepare import run_prepare
from vowels import FORMANTS, RATE, vowel
from workspaces import Workspace

ASSET = hashlib.sha256(b"asset").hexdigest()
VOWEL = wave_bytes(vowel("ah", 1), RATE)
EVERYTHING: dict[str, Any] = {
    "speed": {"factor": 0.2},
    "pitch": {"semitones": 3.0},
    "shift": {"fraction": 0.3},
    "pauses": {"count": 2, "seconds": 0.1},
    "gain": {"db": 10.0},
    "noise": {"low": 5.0, "high": 20.0},
    "time_mask": {"count": 2, "fraction": 0.2},
    "frequency_mask": {"count": 2, "fraction": 0.2},
}
PARAMS = """
prepare: {kind: audio, rate: 8000, length_s: 0.4, on_broken: drop, split: {train: 0.5, test: 0.5}}
augment: {kind: audio, copies: 2, operators: {speed: {}, pitch: {}, shift: {}, noise: {}, frequency_mask: {}}}
featurize: {extract: [{use: logmel, bands: 8, summary: frames}, mfcc, audiostats]}
"""

Samples = npt.NDArray[np.int16]


def tone(hertz: float = 440.0, seconds: float = 0.5, rate: int = RATE) -> npt.NDArray[np.float64]:
    return np.asarray(0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate))


def written(samples: npt.NDArray[Any], form: str, rate: int = RATE, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def vowels(each: int) -> dict[str, bytes]:
    return {f"{name}/{n:02d}.wav": wave_bytes(vowel(name, n), RATE) for name in FORMANTS for n in range(each)}


def fill(workspace: Workspace, assets: dict[str, bytes]) -> None:
    workspace.write("data/raw", assets, label=[key.split("/")[0] for key in assets])


def run(workspace: Workspace, text: str = PARAMS, jobs: int = 1) -> list[StageReport]:
    params = workspace.params(text)
    return [stage(workspace.context(jobs), params) for stage in (run_prepare, run_augment, run_featurize)]


# --- reading


@pytest.mark.parametrize(
    ("form", "subtype", "apart"),
    [
        ("WAV", "PCM_16", 0.0),
        ("WAV", "PCM_U8", 0.01),
        ("WAV", "PCM_24", 1e-4),
        ("WAV", "FLOAT", 1e-4),
        ("WAV", "IMA_ADPCM", 0.05),
        ("FLAC", "PCM_16", 0.0),
        ("OGG", "VORBIS", 0.05),
        ("OGG", "OPUS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_format_is_read(form: str, subtype: str, apart: float) -> None:
    sound = quantised(tone())
    read = read_audio(written(sound if apart == 0 else sound / 32_768, form, subtype=subtype))
    assert (read.rate, read.note) == (RATE if subtype != "OPUS" else read.rate, None)
    if apart == 0:
        assert (quantised(read.samples) == sound).all()
    else:
        level = float(np.abs(np.fft.rfft(read.samples)).max() / len(read.samples))
        assert abs(level - 0.25) < apart


def test_channels_become_their_mean_and_samples_are_rounded_to_the_even_one() -> None:
    both = np.stack([tone(300), tone(500)], axis=1)
    read = read_audio(written(both, "WAV", subtype="FLOAT"))
    assert np.abs(read.samples - both.mean(axis=1)).max() < 1e-6
    assert quantised(np.array([0.5, 1.5, 2.5, 40_000, -40_000]) / 32_768).tolist() == [0, 2, 2, 32_767, -32_768]
    with soundfile.SoundFile(io.BytesIO(wave_bytes(vowel("ee", 0), RATE))) as file:
        assert (file.format, file.subtype, file.samplerate, file.channels) == ("WAV", "PCM_16", RATE, 1)
        assert (file.read(dtype="int16") == vowel("ee", 0)).all()


def wave_claiming(rate: int = RATE, channels: int = 1, size: int | None = None, body: bytes = b"\1\0" * 500) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * rate * channels % 2**32, 2 * channels, 16)
    size = len(body) if size is None else size
    return b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVE" + form + b"data" + struct.pack("<I", size) + body


def flac_claiming(samples: int, rate: int) -> bytes:
    """A FLAC file whose header says so: 20 bits of rate, 3 of channels, 5 of bits, 36 of samples (RFC 9639, 8.2)."""
    data = bytearray(written(quantised(tone()), "FLAC"))
    data[18:26] = (rate << 44 | 0 << 41 | 15 << 36 | samples).to_bytes(8, "big")
    return bytes(data)


def bad_float(value: float) -> bytes:
    samples = tone().astype(np.float32)
    samples[17] = value
    return written(samples, "WAV", subtype="FLOAT")


FLAC, OGG, MP3 = (written(quantised(tone(seconds=2.0)), form) for form in ("FLAC", "OGG", "MP3"))
BROKEN = {
    "empty": (b"", "an empty file"),
    "short": (b"RIFF", "begins with 52 49 46 46"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "a PNG image, expected WAV"),
    "text": (b"hello, world", "begins with 68 65 6c 6c"),
    "zip": (b"PK\3\4", "a ZIP file"),
    "aiff": (written(quantised(tone()), "AIFF"), "AIFF, expected"),
    "wave cut": (VOWEL[:-10], "cut off: the header says"),
    "wave without data": (VOWEL[:36], "no data chunk"),
    "wave of nothing": (VOWEL[:40] + b"\0" * 4, "holds no samples"),
    "wave of 2^32 bytes": (wave_claiming(size=0xFFFFFFFF), "cut off: the header says 4294967295 bytes"),
    "10 MHz": (wave_claiming(rate=10_000_000), "10000000 samples per second"),
    "1 Hz": (wave_claiming(rate=1), "1 samples per second"),
    "no rate": (wave_claiming(rate=0), "samples per second|does not decode"),
    "999 channels": (wave_claiming(channels=999, body=b"\0" * 1998 * 5), "999 channels"),
    "no channels": (wave_claiming(channels=0), "does not decode"),
    "flac cut": (FLAC[: len(FLAC) // 2], "cut off|does not decode"),
    "flac of 2^31 samples": (flac_claiming(1 << 31, RATE), "2147483648 samples"),
    "flac header alone": (FLAC[:42], "cut off|does not decode|no samples"),
    "flac cut in its header": (FLAC[:20], "does not decode"),
    "ogg cut": (OGG[: len(OGG) // 2], "cut off: the last Ogg page"),
    "ogg of zeros": (OGG[:100] + b"\0" * 5000, "cut off|does not decode"),
    "mp3 cut": (MP3[: len(MP3) // 2], "cut off: the header says"),
    "mp3 of zeros": (MP3[:4] + b"\0" * 5000, "does not decode|no samples|cut off"),
    "utf-16": ("\ufeffhello".encode("utf-16-le"), "does not decode"),
    "nan": (bad_float(float("nan")), "sample 17 is not a number"),
    "infinity": (bad_float(float("inf")), "sample 17 is not a number"),
    "silence": (wave_bytes(np.zeros(8000, np.int16), RATE), "nothing but silence"),
    "a click": (wave_bytes(np.array([9000], np.int16), RATE), "expected at least 0.01 s"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_says_why_in_bounded_time(name: str) -> None:
    data, said = BROKEN[name]
    began = time.monotonic()
    with pytest.raises(AssetBroken, match=said):
        NormaliseAudio().derive(data, ASSET, 0)
    assert time.monotonic() - began < 5


def problem_of(data: bytes) -> str:
    try:
        NormaliseAudio(length_s=0.1).derive(data, ASSET, 0)
    except AssetBroken as error:
        return str(error)
    return ""


def test_no_flipped_byte_and_no_cut_ends_in_another_error() -> None:
    chance = random.Random(1)
    for whole in (VOWEL, FLAC, OGG, MP3):
        for _ in range(60):
            data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
            for _ in range(chance.randrange(1, 20)):
                if data:
                    data[chance.randrange(min(len(data), chance.choice([60, len(data)])))] = chance.randrange(256)
            assert "\n" not in problem_of(bytes(data))


def test_a_stream_without_its_end_is_told_and_kept() -> None:
    pages = written(np.random.default_rng(0).normal(0, 0.1, 4 * RATE), "OGG")
    last = pages.rfind(b"OggS")
    assert "may be cut off" in str(NormaliseAudio().derive(pages[:last], ASSET, 0).note)
    loud = NormaliseAudio().derive(written(tone() * 4, "WAV", subtype="FLOAT"), ASSET, 0)
    assert "its loudest sample is 2, cut at 1" in str(loud.note)


def test_a_worker_stays_below_512_mb_on_the_largest_and_on_bombs() -> None:
    code = """
import io, re, numpy as np, soundfile
from datapin.pipeline.operators.audio.prepare import NormaliseAudio
from datapin.pipeline.operators.audio.augment import AudioOperators
from datapin.pipeline.operators.audio.augment_audio import MOST_COPIED, AugmentAudio
from datapin.pipeline.operators.audio.extractors import LogMel
from datapin.pipeline.operators.audio.reading import MOST_SAMPLES, read_audio, wave_bytes
from datapin.pipeline.operators.features import Features
from datapin.pipeline.operators.operator import AssetBroken

def peak():
    "MB; ru_maxrss would be that of the process which started this one, if that was larger."
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) >> 10

bomb = io.BytesIO()
with soundfile.SoundFile(bomb, "w", 16000, 1, "PCM_16", format="FLAC") as file:
    for _ in range(60):
        file.write(np.zeros(1_000_000, np.int16))
bomb = bytearray(bomb.getvalue())
bomb[18:26] = (16000 << 44 | 15 << 36).to_bytes(8, "big")  # it does not say how long it is
try:
    NormaliseAudio(max_s=3600.0).derive(bytes(bomb), "0" * 64, 0)
    print("no bomb")
except AssetBroken as error:
    assert "expected at most" in str(error) or "does not decode" in str(error), error
most = np.zeros(MOST_SAMPLES - 8, np.int16)
most[::7] = 1000
data = wave_bytes(most, 16000)
del most
NormaliseAudio(rate=15000, max_s=3600.0).derive(data, "0" * 64, 0)
print(peak())
part = data[:4] + (36 + 2 * MOST_COPIED).to_bytes(4, "little") + data[8:40] + (2 * MOST_COPIED).to_bytes(4, "little")
part += data[44 : 44 + 2 * MOST_COPIED]
operators = AudioOperators.model_validate({name: {} for name in AudioOperators.model_fields})
AugmentAudio(operators).derive(part, "0" * 64, 1)
print(peak())
Features((LogMel(),)).extract([part])
print(peak())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(int(line) < 512 for line in ended.stdout.split()), ended.stdout
    assert len(ended.stdout.split()) == 3


# --- one form


def test_what_is_in_form_already_stays_and_everything_else_gets_there_at_once() -> None:
    plain = NormaliseAudio(trim_db=None)
    assert plain.derive(VOWEL, ASSET, 0).data == VOWEL
    for form in ("WAV", "FLAC"):
        assert plain.derive(written(vowel("ah", 1), form), ASSET, 0).data == VOWEL
    whole = NormaliseAudio(rate=8000, length_s=0.3, align="center")
    once = whole.derive(written(np.stack([tone(), tone()], axis=1), "WAV"), ASSET, 0).data or b""
    assert len(once) == 44 + 2 * 2400
    assert NormaliseAudio(rate=8000, length_s=0.3, align="center").derive(once, ASSET, 0).data == once
    assert len({one.fingerprint for one in (plain, whole, NormaliseAudio(), NormaliseAudio(min_s=0.02))}) == 4


def test_another_rate_is_the_same_tone() -> None:
    made = NormaliseAudio(rate=8000, trim_db=None).derive(written(tone(1000, 1.0, 44_100), "WAV", 44_100), ASSET, 0)
    read = read_audio(made.data or b"")
    assert (read.rate, len(read.samples)) == (8000, 8000)
    assert np.abs(read.samples - tone(1000, 1.0, 8000))[100:-100].max() < 0.001


def test_silence_around_is_trimmed_and_lengths_are_made_equal() -> None:
    sound = np.concatenate([np.zeros(3200), tone(seconds=0.2), np.zeros(1600)])
    quiet = sound + 0.5 * 10 ** (-50 / 20) * np.sign(np.sin(np.arange(len(sound))))
    trimmed = read_audio(NormaliseAudio().derive(written(quiet, "WAV"), ASSET, 0).data or b"")
    assert len(trimmed.samples) == 3200
    assert (
        len(read_audio(NormaliseAudio(trim_db=70.0).derive(written(quiet, "WAV"), ASSET, 0).data or b"").samples)
        == 8000
    )
    for align, place in (("start", 0), ("center", 2400)):
        longer = NormaliseAudio(length_s=0.5, align=align).derive(written(sound, "WAV"), ASSET, 0)  # type: ignore[arg-type]  # one of the two
        samples = quantised(read_audio(longer.data or b"").samples)
        assert np.flatnonzero(samples)[0] - place in (0, 1)
        assert len(samples) == 8000
    assert "silence" in str(NormaliseAudio(trim_db=None).derive(BROKEN["silence"][0], ASSET, 0).note)


# --- copies


def operator(seed: int = 0, **operators: dict[str, Any]) -> AugmentAudio:
    return AugmentAudio(AudioOperators.model_validate(operators), seed)


def copied(copy: int = 1, seed: int = 0, **operators: dict[str, Any]) -> Samples:
    data = operator(seed, **operators).derive(VOWEL, ASSET, copy).data
    return quantised(read_audio(data or b"").samples)


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_a_copy_is_a_function_of_asset_copy_and_seed_and_as_long_as_its_parent(name: str) -> None:
    named = {name: EVERYTHING[name]}
    found = [copied(copy, seed, **named) for copy in range(4) for seed in range(2)]
    assert len({one.tobytes() for one in found}) == 8
    assert {len(one) for one in found} == {len(vowel("ah", 1))}
    assert (copied(3, 1, **named) == copied(3, 1, **named)).all()
    neutral: dict[str, dict[str, Any]] = {name: {**EVERYTHING[name], "probability": 0.0}}
    assert (copied(1, 0, **neutral) == vowel("ah", 1)).all()
    silent = operator(**named).derive(wave_bytes(np.zeros(1, np.int16), RATE), ASSET, 1).data or b""
    assert not np.frombuffer(silent[44:], "<i2").any(), "one sample of silence"


def test_noise_has_the_ratio_that_was_asked_for() -> None:
    for decibels in (0.0, 12.0, 40.0):
        changed = WhiteNoise(low=decibels, high=decibels).apply(tone(), AudioDraw(ASSET, 1, 0, RATE))
        noise = changed - tone()
        assert abs(10 * np.log10((tone() ** 2).mean() / (noise**2).mean()) - decibels) < 1e-6
        assert abs(noise.mean()) < 0.1 * noise.std()
        spectrum = np.abs(np.fft.rfft(noise)) ** 2
        assert 0.8 < spectrum[: len(spectrum) // 2].mean() / spectrum[len(spectrum) // 2 :].mean() < 1.25


def peak_hertz(samples: npt.NDArray[Any]) -> float:
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * RATE / len(samples))


def test_speed_moves_pitch_and_length_pitch_moves_pitch_alone_and_stretching_length_alone() -> None:
    for factor in (0.5, 0.9, 1.0, 1.3, 2.0):
        longer = stretched(tone(), factor)
        assert len(longer) == round(factor * len(tone()))
        assert abs(peak_hertz(longer) - 440) < 5
    assert np.abs(stretched(tone(), 1.0) - tone()).max() < 1e-9
    draws = [AudioDraw(ASSET, copy, 0, RATE) for copy in range(12)]
    operators = AudioOperators.model_validate({"pitch": {"semitones": 4.0}, "speed": {"factor": 0.2}})
    pitch, speed = operators.pitch, operators.speed
    assert pitch is not None
    assert speed is not None
    higher = [peak_hertz(pitch.apply(tone(), draw)) for draw in draws]
    assert all(440 * 2 ** (-4.2 / 12) < one < 440 * 2 ** (4.2 / 12) for one in higher)
    assert max(higher) - min(higher) > 50
    faster = [speed.apply(tone(), draw) for draw in draws]
    assert all(345 < peak_hertz(one) < 535 for one in faster)
    assert any(not one[-500:].any() for one in faster), "a faster copy ends in silence"


def test_masks_take_out_stretches_and_bands() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_384)
    masked = FrequencyMask(count=1, fraction=0.5).apply(noise, AudioDraw(ASSET, 2, 0, RATE))
    spectrum = np.abs(np.fft.rfft(masked))
    gone = np.flatnonzero(spectrum < 1e-9)
    assert 0 < len(gone) <= 4097
    assert (np.diff(gone) == 1).all()
    silent = copied(2, time_mask={"count": 1, "fraction": 0.5}) != vowel("ah", 1)
    assert 0 < silent.sum() <= len(silent) / 2


def test_a_recipe_makes_the_operator_again() -> None:
    one = operator(5, **EVERYTHING)
    assert read_recipe(recipe_of(one)) == one
    assert apply_recipe(recipe_of(one), VOWEL, ASSET, 2) == one.derive(VOWEL, ASSET, 2).data
    with pytest.raises(OperatorRefused):
        read_recipe(recipe_of(one).replace('"version":1', '"version":2'))


# --- features


def reference_power(samples: npt.NDArray[Any], window: int, hop: int, transform: int) -> npt.NDArray[np.float64]:
    """Spectra by SciPy, of the frames that lie in the recording whole."""
    stft = scipy.signal.ShortTimeFFT(
        scipy.signal.windows.hann(window, sym=False), hop, RATE, mfft=transform, fft_mode="onesided"
    )
    begin = window // 2  # SciPy centres frames; p0 counts from the first that touches a sample
    frames = [samples[at : at + window] for at in range(0, len(samples) - window + 1, hop)]
    whole = [np.abs(stft.stft(frame, p0=0, p1=1, k_offset=begin)[:, 0]) ** 2 for frame in frames]
    return np.array(whole)


def test_log_mel_and_mfcc_are_what_scipy_computes() -> None:
    samples = vowel("ee", 3)[:8000] / 32_768
    power = reference_power(samples, 400, 160, 512)
    mel = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 8000 / 700), 42)
    corners = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.arange(257) * RATE / 512
    filters = [np.interp(hertz, corners[n : n + 3], [0, 1, 0], left=0, right=0) for n in range(40)]
    wanted = 10 * np.log10(np.maximum(power @ np.array(filters).T, 1e-10))
    data = written(samples.astype(np.float32), "WAV", subtype="FLOAT")
    found = Features((LogMel("frames"),)).extract([data]).values[0] or b""
    assert np.abs(np.frombuffer(found, "<f4").reshape(wanted.shape) - wanted).max() < 1e-3
    cepstra = scipy.fft.dct(wanted, type=2, norm="ortho", axis=1)[:, :13]
    found = Features((Mfcc("frames"),)).extract([data]).values[0] or b""
    assert np.abs(np.frombuffer(found, "<f4").reshape(cepstra.shape) - cepstra).max() < 1e-2
    found = Features((Mfcc(),)).extract([data]).values[0] or b""
    both = np.concatenate([cepstra.mean(axis=0), cepstra.std(axis=0)])
    assert np.abs(np.frombuffer(found, "<f4") - both).max() < 1e-2


def test_statistics_of_tones_are_known() -> None:
    data = [written(tone(hertz).astype(np.float32), "WAV", subtype="FLOAT") for hertz in (1000.0, 3000.0)]
    found = [np.frombuffer(one or b"", "<f4")[:6] for one in Features((AudioStatistics(),)).extract(data).values]
    for hertz, (level, peak, crossings, centroid, width, rolled) in zip((1000, 3000), found, strict=True):
        assert (abs(level - 0.5 / 2**0.5), abs(peak - 0.5)) < (0.01, 0.01)
        assert abs(crossings - 2 * hertz / RATE) < 0.005
        assert max(abs(centroid - hertz), abs(rolled - hertz)) < 60
        assert width < 100
    silence = Features((AudioStatistics(), LogMel())).extract([wave_bytes(np.zeros(99, np.int16), RATE)])
    assert np.isfinite(np.frombuffer(silence.values[0] or b"", "<f4")).all()


def test_a_vector_does_not_depend_on_the_others() -> None:
    extractors = Features((LogMel("frames"), Mfcc(), AudioStatistics()))
    assets = [NormaliseAudio(length_s=0.3).derive(one, ASSET, 0).data or b"" for one in vowels(4).values()]
    alone = [extractors.extract([one]).values[0] for one in assets]
    assert extractors.extract(assets).values == alone
    assert extractors.extract(assets[::-1]).values == alone[::-1]
    assert len({len(one or b"") for one in alone}) == 1
    low = written(tone(100, 0.5, 1000), "WAV", 1000)
    assert "too few for bands" in str(Features((LogMel(high_hz=4000.0),)).extract([low]).problems[0])


# --- stages


def test_the_stages_of_recordings(workspace: Workspace) -> None:
    assets = vowels(8) | {f"bad/{name}.wav": data for name, (data, _) in BROKEN.items() if data}
    fill(workspace, assets)
    prepare, augment, featurize = run(workspace)
    assert (prepare.rows, prepare.dropped) == (24, len(assets) - 24)
    named = [one for one in prepare.findings if one.check == "broken-recording" or one.check.startswith("broken")]
    assert len(named) == len(assets) - 24, "a finding per file"
    rows = workspace.read("data/augmented")
    copies = [row for row in rows if row["parent"] and "~" in row["key"]]
    assert len(copies) == 2 * sum(row["split"] == "train" for row in workspace.read("data/prepared"))
    assert {row["media_type"] for row in rows} == {"audio/wav"}
    assert {row["size"] for row in rows} == {44 + 2 * 3200}
    assert featurize.rows == augment.rows
    before = workspace.files("data")
    assert [report.computed for report in run(workspace)] == [0, 0, 0]
    assert workspace.files("data") == before


@pytest.mark.parametrize("jobs", [1, 3])
def test_workers_order_and_locale_do_not_show(workspace: Workspace, tmp_path: Any, jobs: int) -> None:
    assets = vowels(10)
    fill(workspace, assets)
    digests = [report.digest for report in run(workspace, jobs=jobs)]
    other = Workspace.make(tmp_path / "other")
    mixed = list(assets.items())
    random.Random(3).shuffle(mixed)
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "C")
        fill(other, dict(mixed))
        text = PARAMS.replace("featurize: {", "featurize: {batch: 3, ")
        assert [report.digest for report in run(other, text)] == digests
    finally:
        locale.setlocale(locale.LC_ALL, before)


# --- params


@pytest.mark.parametrize(
    ("section", "model", "given", "said"),
    [
        ("prepare", PrepareParams, {"resize": 32}, "unknown name"),
        ("prepare", PrepareParams, {"rate": 10}, "greater than or equal to 1000"),
        ("prepare", PrepareParams, {"rate": 16000.0}, "integer"),
        ("prepare", PrepareParams, {"min_s": 2.0, "max_s": 1.0}, "min_s must not exceed max_s"),
        ("prepare", PrepareParams, {"trim": "all"}, "trim"),
        ("augment", AugmentParams, {"operators": {"rotate": {}}}, "unknown name"),
        ("augment", AugmentParams, {"operators": {"noise": {"low": 9.0, "high": 3.0}}}, "low must not exceed high"),
        ("augment", AugmentParams, {"operators": {"pitch": {"semitones": 13.0}}}, "less than or equal to 12"),
        ("augment", AugmentParams, {"pixel_columns": "keep"}, "unknown name"),
        ("featurize", FeaturizeParams, {"extract": [{"use": "mfcc", "bands": 12}]}, "must not exceed bands"),
        ("featurize", FeaturizeParams, {"extract": [{"use": "logmel", "high_hz": 10.0}]}, "must be below high_hz"),
        ("featurize", FeaturizeParams, {"extract": [{"use": "audiostats", "bands": 12}]}, "unknown name"),
    ],
)
def test_params_that_do_not_fit_are_refused(section: str, model: Any, given: dict[str, Any], said: str) -> None:
    kind = {} if section == "featurize" else {"kind": "audio"}
    with pytest.raises(BadSettings) as refused:
        validate_params({**kind, **given}, "params.yaml", section, model)
    assert said in f"{refused.value.where} {refused.value.problem}"


def test_stages_of_another_kind_than_what_they_read_are_refused(workspace: Workspace) -> None:
    params = workspace.params("prepare: {kind: audio}\naugment: {output: data/more}\n")
    with pytest.raises(BadSettings, match="reads image data, but data/prepared is what prepare writes, of kind: audio"):
        refuse_other_kinds(params, "augment", "data/prepared", ["image"])
    refuse_other_kinds(params, "augment", "data/prepared", ["audio"])
    refuse_other_kinds(params, "featurize", "data/more", ["image"])
    refuse_other_kinds(params, "featurize", "data/other", ["text"])


def test_without_the_extra_one_line_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    need_libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "soxr", None)
    monkeypatch.delitem(sys.modules, "datapin.pipeline.kinds.audio", raising=False)
    with pytest.raises(Usage) as refused:
        kind_named("audio")
    assert "\n" not in refused.value.message
    assert refused.value.hint == "pip install 'datapin[audio]'"
    monkeypatch.undo()
    need_libraries.cache_clear()
    assert kind_named("audio").noun == "recording"
