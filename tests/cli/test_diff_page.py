"""The page of `datapin diff --html`: complete, safe, the same every time."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

import datapin
from clones import Clone
from workspaces import picture

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>${style}$style&amp;"


class Page(HTMLParser):
    """A page taken apart: tags, attributes by tag, and the text that a reader sees."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.style = ""
        self._in_style = False
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_style = tag == "style"
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def images(self) -> list[bytes]:
        sources = [value for tag, name, value in self.attributes if (tag, name) == ("img", "src")]
        return [base64.b64decode(re.sub("^data:image/(png|jpeg);base64,", "", source)) for source in sources]


@pytest.fixture(scope="module")
def reviewed(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relabelled row, one with another image, one added, one removed, a broken image, one that is none."""
    top = tmp_path_factory.mktemp("reviewed") / "repo"
    shutil.copytree(blank, top, symlinks=True)
    clone, repo = Clone(top), datapin.Repo.find(top)
    for number in range(6):
        place = top / "img" / str(number % 2)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(picture(number))
    (top / ".gitignore").write_text("/img\n")
    repo.add(["img"], to="data/raw", label="parent")
    clone.commit("v1")
    (top / "img/0/4.png").write_bytes(picture(40, side=300, channels=3))
    (top / "img/1/7.png").write_bytes(picture(7)[:60])
    (top / "img/1/8.wav").write_bytes(b"RIFF" * 600)
    (top / "img/0/0.png").unlink()
    repo.add(["img"], to="data/raw", label="parent", mirror=True)
    repo.update("data/raw", ["label='9'"], where="key = '1/3.png'")
    return top


def page_of(top: Path, path: Path, *versions: str, where: str | None = None) -> Page:
    datapin.Repo.find(top).diff("data/raw", *versions, where=where, html=path)
    return Page(path)


def test_the_page_counts_everything_and_shows_old_and_new_side_by_side(reviewed: Path, tmp_path: Path) -> None:
    page = page_of(reviewed, tmp_path / "page.html")
    for words in ("+2 added", "−1 removed", "~2 changed", "3 unchanged", "6 → 7 rows", "HEAD → work tree"):
        assert words in page.text
    assert "Relabelled before → after rows 1 → 9 1" in page.text
    assert "Labels value before after rows 0 3 → 2 -1 1 3 → 4 +1 9 0 → 1 +1" in page.text
    changed = page.text.split("Changed rows")[1].split("Added rows")[0]
    assert "0/4.png" in changed
    assert "1/3.png label 1 → 9" in changed
    assert "asset" in changed
    sides = [Image.open(io.BytesIO(data)).size for data in page.images]
    assert sides == [(12, 12), (192, 192), (12, 12), (12, 12)]  # old, new; relabelled; removed
    assert "broken image" in page.text
    assert "broken recording 1/8.wav" in page.text
    assert "2.3 KiB" in page.text


def test_the_page_needs_nothing_and_lets_nothing_in(reviewed: Path, tmp_path: Path) -> None:
    page = page_of(reviewed, tmp_path / "page.html")
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form", "base", "a"}
    assert all(value.startswith("data:image/") for _, name, value in page.attributes if name in ("src", "href"))
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert "url(" not in page.style
    assert "@import" not in page.style
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "img-src data:" in policy
    assert "script-src" not in policy


def test_the_same_versions_give_the_same_bytes_in_any_clone(reviewed: Path, tmp_path: Path) -> None:
    shutil.copytree(reviewed, tmp_path / "copy", symlinks=True)
    page_of(reviewed, tmp_path / "1.html")
    page_of(tmp_path / "copy", tmp_path / "2.html")
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_markup_in_keys_labels_columns_and_filters_stays_text(reviewed: Path, tmp_path: Path) -> None:
    top = tmp_path / "repo"
    shutil.copytree(reviewed, top, symlinks=True)
    repo = datapin.Repo.find(top)
    quiet = page_of(top, tmp_path / "quiet.html", where="1 = 1")
    (top / "new").mkdir()
    (top / "new" / "<img src=x onerror=alert(3)>$style.png").write_bytes(picture(99))
    repo.add(["new"], to="data/raw")
    text = HOSTILE.replace("'", "''")
    repo.update("data/raw", [f"label='{text}'", f"split='{text}'", f"\"</style><b>$title\"='{text}'"])
    repo.update("data/raw", ["label=chr(8238)||'abc'||chr(7)"], where="key = '1/5.png'")
    page = page_of(top, tmp_path / "page.html", where=f"label <> '{text}' OR key > ''")
    assert page.tags == quiet.tags
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in quiet.attributes}
    assert all(value.startswith("data:image/") for _, name, value in page.attributes if name == "src")
    assert HOSTILE in page.text
    assert "<img src=x onerror=alert(3)>$style.png" in page.text
    assert "</style><b>$title" in page.text
    assert r"\u202eabc\x07" in page.text
    assert page.style == quiet.style


def test_pictures_that_are_not_here_are_fetched_or_said_to_be_missing(reviewed: Path, tmp_path: Path) -> None:
    top = tmp_path / "repo"
    shutil.copytree(reviewed, top, symlinks=True)
    whole = page_of(top, tmp_path / "whole.html")
    Clone(top).dvc("remote", "add", "-q", "-d", "lab", tmp_path / "lab")
    datapin.Repo.find(top).push()
    shutil.rmtree(top / ".git" / "datapin" / "store")
    fetched = page_of(top, tmp_path / "fetched.html")
    assert fetched.source == whole.source
    shutil.rmtree(top / ".git" / "datapin" / "store")
    shutil.rmtree(tmp_path / "lab")
    lost = page_of(top, tmp_path / "lost.html")
    assert lost.images == []
    assert lost.text.count("not here") == len(whole.images) + 2  # the broken ones are not here either


def test_what_is_not_pictured_is_counted_and_said(blank: Path, tmp_path: Path) -> None:
    top = tmp_path / "repo"
    shutil.copytree(blank, top, symlinks=True)
    (top / "many").mkdir()
    for number in range(150):
        (top / "many" / f"{number:03d}.txt").write_text(str(number))
    repo = datapin.Repo.find(top)
    repo.add(["many"], to="data/raw")
    repo.update("data/raw", ["label=key", "split=CASE WHEN key < '100' THEN 'train' ELSE 'val' END"])
    page = page_of(top, tmp_path / "page.html")
    assert "Added rows the first 100 of 150" in page.text
    assert page.text.count("text/plain") == 100
    assert "40 of 150 values: those whose count changed most" in page.text
    assert "train 0 → 100 +100" in page.text
    repo.update("data/raw", ["label=NULL"])
    repo.update("data/raw", ["score=size * 1.5 + length(key)"])
    assert "(none) 0 → 150" in page_of(top, tmp_path / "page.html").text


def test_labels_that_are_numbers_are_counted_in_ranges(blank: Path, tmp_path: Path) -> None:
    top = tmp_path / "repo"
    shutil.copytree(blank, top, symlinks=True)
    (top / "many").mkdir()
    for number in range(60):
        (top / "many" / f"{number:03d}.txt").write_text(str(number))
    repo = datapin.Repo.find(top)
    repo.add(["many"], to="data/raw")
    labels = pa.array([*map(float, range(59)), None])
    repo.write("data/raw", repo.ls("data/raw").append_column("label", labels))
    text = page_of(top, tmp_path / "page.html").text
    assert "0 … 2.9 0 → 3 +3" in text
    assert "(none) 0 → 1 +1" in text
