"""The page of `datapin run augment --preview`: what the stage would store, safe, and nothing is stored."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from pathlib import Path

import pytest
import soundfile
from PIL import Image

from clones import Clone
from datapin.base.errors import DatapinError, Usage
from datapin.manifest.manifest import Manifest
from datapin.pipeline.operators.audio.reading import wave_bytes
from datapin.pipeline.operators.audio.spectrogram import HEIGHT, WIDTH
from datapin.repo import Repo
from vowels import RATE, vowel, write_vowels
from workspaces import picture

HOSTILE = "<script>alert(1)<|script>\"'><img src=x onerror=alert(2)>${style}$style&amp;"
TEXT_PARAMS = "prepare: {kind: text}\naugment: {kind: text, operators: {swap: {fraction: 0.4}}}\n"


def prepared(repo: Clone, params: str) -> Repo:
    (repo.path / "params.yaml").write_text(params)
    repo.datapin("add", "own", "--to", "data/raw", "--label", "parent", "-q")
    repo.datapin("run", "prepare", "-q")
    return Repo.find(repo.path)


def embedded(page: Path, kind: str) -> list[bytes]:
    found = re.findall(rf'src="data:{kind};base64,([^"]+)"', page.read_text(encoding="utf-8"))
    return [base64.b64decode(one) for one in found]


def is_closed(page: Path) -> bool:
    """Whether it loads nothing and runs nothing."""
    text = page.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    tags = {tag.lower() for tag in re.findall(r"<([a-zA-Z]+)", text)}
    return (
        all(one.startswith("data:") for one in sources)
        and not tags & {"script", "link", "iframe", "object", "form"}
        and "default-src 'none'" in text
        and not re.search(r"<[^>]*\son\w+=", text)
    )


def test_recordings_are_seen_and_heard_before_and_after(repo: Clone) -> None:
    write_vowels(repo.path / "own", each=4)
    (repo.path / "own" / HOSTILE).mkdir()
    (repo.path / "own" / HOSTILE / f"{HOSTILE}.wav").write_bytes(wave_bytes(vowel("ee", 99), RATE))
    rows = prepared(repo, "prepare: {kind: audio, split: {train: 1.0}}\naugment: {kind: audio}\n")
    pinned = sorted(path for path in (repo.path / "data").rglob("*"))
    said = repo.datapin("run", "augment", "--preview", "99", "page.html").stdout
    assert "13 rows and their copies: page.html" in said
    assert sorted(path for path in (repo.path / "data").rglob("*")) == pinned, "no dataset was written"
    page = repo.path / "page.html"
    assert is_closed(page)
    assert "&lt;script&gt;alert(1)" in page.read_text(encoding="utf-8")
    pictures = [Image.open(io.BytesIO(one)) for one in embedded(page, "image/png")]
    assert {one.size for one in pictures} == {(WIDTH, HEIGHT)}
    assert len(pictures) == 26
    sounds = embedded(page, "audio/wav")
    assert all(soundfile.info(io.BytesIO(one)).samplerate == RATE for one in sounds)
    rows.run("augment")
    made = Manifest.open(repo.path / "data/augmented", "data/augmented").to_table(["key", "asset_id"]).to_pylist()
    copies = {row["asset_id"] for row in made if row["key"].endswith("~1.wav")}
    assert len(copies) == 13
    assert copies <= {hashlib.sha256(one).hexdigest() for one in sounds}, "the page plays what the stage stores"


def test_words_of_texts_are_marked(repo: Clone) -> None:
    for number in range(6):
        (repo.path / "own" / "a").mkdir(parents=True, exist_ok=True)
        (repo.path / "own" / "a" / f"{number}.txt").write_text(
            f"one <b>two</b> three, four & five: number {number} <img>"
        )
    rows = prepared(repo, TEXT_PARAMS)
    report = rows.run("augment", preview=(2, repo.path / "page.html"))
    assert (report.rows, report.digest) == (2, "")
    page = repo.path / "page.html"
    text = page.read_text(encoding="utf-8")
    assert is_closed(page)
    assert text.count("<p class=words>") == 4
    assert "<mark>" in text
    assert "&lt;b&gt;" in text.replace("<mark>", "").replace("</mark>", "")
    again = repo.path / "again.html"
    rows.run("augment", preview=(2, again))
    assert again.read_bytes() == page.read_bytes()


def test_images_and_rows_that_cannot_be_copied(repo: Clone) -> None:
    for number in range(3):
        (repo.path / "own" / "a").mkdir(parents=True, exist_ok=True)
        (repo.path / "own" / "a" / f"{number}.png").write_bytes(picture(number))
    rows = prepared(repo, "prepare: {split: {train: 1.0}}\n")
    page = repo.path / "page.html"
    for mode in ("offline", "online"):
        (repo.path / "params.yaml").write_text(f"augment: {{mode: {mode}}}\n")
        assert rows.run("augment", preview=(10, "page.html")).rows == 3
        assert len(embedded(page, "image/png")) == 6
        assert rows.run("augment", preview=(2, "page.html")).rows == 2
    (repo.path / "params.yaml").write_text("augment: {kind: text}\n")
    assert rows.run("augment", preview=(10, "page.html")).rows == 3
    assert page.read_text(encoding="utf-8").count("no copy") >= 3
    assert "is not utf-8" in page.read_text(encoding="utf-8")
    (repo.path / "params.yaml").write_text("augment: {copies: 0}\n")
    assert rows.run("augment", preview=(10, "page.html")).rows == 0
    assert "No row is copied" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("stage", "count"), [("train", 3), ("augment", 0), ("augment", 201)])
def test_what_cannot_be_previewed_is_refused(repo: Clone, stage: str, count: int) -> None:
    with pytest.raises(Usage) as refused:
        Repo.find(repo.path).run(stage, preview=(count, "page.html"))
    assert "1 to 200 rows of augment" in refused.value.message
    with pytest.raises(DatapinError):
        Repo.find(repo.path).run("augment", preview=(3, "page.html"))
    assert not (repo.path / "page.html").exists()


def test_the_page_of_diff_shows_spectrograms(repo: Clone) -> None:
    write_vowels(repo.path / "own", each=2)
    (repo.path / "own" / "ah" / "broken.wav").write_bytes(b"RIFF")
    repo.datapin("add", "own", "--to", "data/raw", "--label", "parent", "-q")
    repo.datapin("diff", "data/raw", "--html", "page.html", "-q")
    pictures = embedded(repo.path / "page.html", "image/png")
    assert [Image.open(io.BytesIO(one)).size for one in pictures] == [(WIDTH, HEIGHT)] * 6
    assert "broken recording" in (repo.path / "page.html").read_text(encoding="utf-8")
    assert is_closed(repo.path / "page.html")
