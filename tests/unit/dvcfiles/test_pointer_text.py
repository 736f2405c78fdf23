"""Reading a `.dvc` file by its lines gives what YAML gives, or is left to YAML."""

from __future__ import annotations

import pytest

from clones import Clone
from datapin.base.errors import DatapinError
from datapin.dvcfiles import outs
from datapin.dvcfiles.outs import PinnedOut, _pointer_by_yaml, read_pointer
from datapin.dvcfiles.tracking.track import track
from pinning import Pin, write_shards

MD5 = "5" * 32 + ".dir"
PLAIN = f"outs:\n- md5: {MD5}\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: raw\n"
SUMMARY = f"  meta:\n    datapin:\n      for: {MD5}\n      digest: sha256:{'a' * 64}\n      rows: 4\n      bytes: 5\n"
SOURCE = "      source:\n      - img\n      - more/img\n"


def both(text: str, file: str = "data/raw.dvc") -> list[list[PinnedOut] | str]:
    found: list[list[PinnedOut] | str] = []
    for read in (read_pointer, _pointer_by_yaml):
        try:
            found.append(read(text.encode(), file))
        except DatapinError as error:
            found.append(error.message)
    return found


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN + SUMMARY,
        PLAIN + SUMMARY + SOURCE,
        PLAIN + SUMMARY + "      source: []\n",
        (PLAIN + SUMMARY).replace("digest: sha", "digest: \n        sha"),
        (PLAIN + SUMMARY).replace(f"for: {MD5}", f"for: {'6' * 32}.dir"),
        PLAIN.replace("path: raw", "path: a/../b"),
        PLAIN.replace("path: raw", "path: a/../../../b"),
    ],
)
def test_plain_text_is_read_by_its_lines(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = both(text)
    assert one == other
    monkeypatch.setattr(outs, "_pointer_by_yaml", None)
    assert read_pointer(text.encode(), "data/raw.dvc") == other


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("path: raw", "path: yes"),
        PLAIN.replace("path: raw", "path: 007"),
        PLAIN.replace("path: raw", "path: 'raw'"),
        PLAIN.replace("path: raw", "path: raw # mine"),
        PLAIN.replace("size: 3", "size: 0o17"),
        PLAIN.replace("size: 3", "size: 007"),
        PLAIN.replace(MD5, "5" * 32),
        PLAIN.replace(MD5, "x.dir"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN + PLAIN,
        PLAIN + PLAIN.removeprefix("outs:\n"),
        PLAIN + "wdir: ..\n",
        "wdir: ..\n" + PLAIN,
        PLAIN + "meta: {a: 1}\n",
        PLAIN + SUMMARY + "      more: 1\n",
        PLAIN + SUMMARY + SOURCE.replace("- img", "- no"),
        PLAIN + SUMMARY.replace("rows: 4", "rows: four"),
        f"<<<<<<< a\n{PLAIN}=======\n{PLAIN}>>>>>>> b\n",
        "",
        "- a\n",
    ],
)
def test_any_other_text_means_what_yaml_says(text: str) -> None:
    one, other = both(text)
    assert one == other


def test_what_datapin_and_dvc_write_is_plain(clone: Clone, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(b"1")
    write_shards(clone.path / "data" / "other", b"2")
    clone.dvc("add", "-q", "data/other")
    write_shards(clone.path / "top", b"3")
    track(clone.path, "top", {"digest": "sha256:" + "b" * 64, "rows": 1, "bytes": 2, "source": ["img", "img/b"]})
    files = ["data/raw.dvc", "data/other.dvc", "top.dvc"]
    expected = [_pointer_by_yaml((clone.path / file).read_bytes(), file) for file in files]
    monkeypatch.setattr(outs, "_pointer_by_yaml", None)
    assert [read_pointer((clone.path / file).read_bytes(), file) for file in files] == expected
