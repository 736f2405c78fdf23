"""Hostile JSON, YAML and TOML: refused by a bound, in one line that names the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapin.base.documents import (
    read_bounded,
    read_json,
    read_sealed,
    read_toml,
    read_yaml,
    read_yaml_to_edit,
    sealed,
    write_yaml,
)
from datapin.base.errors import BadDocument, BadSettings
from datapin.base.settings import read_settings
from datapin.dvcfiles.outs import read_lock, read_pointer
from datapin.dvcfiles.texts import stage_outputs


def unfolding(first: str, line: str) -> str:
    """A text of some 400 bytes that says 9**11 values."""
    return f"a0: &a0 {first}\n" + "".join(
        f"a{n}: &a{n} {line.replace('@', ','.join([f'*a{n - 1}'] * 9))}\n" for n in range(1, 12)
    )


LAUGHS, MERGES = unfolding("[x]", "[@]"), unfolding("{x: 1}", "{<<: [@]}")
YAML = {
    "aliases": LAUGHS,
    "merge keys": MERGES,
    "an alias of itself": "&a [*a]",
    "brackets": "a: " + "[" * 20_000,
    "dashes": "- " * 20_000,
    "braces": "{" * 20_000,
    "bytes": "a: " + "x" * (17 << 20),
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
@pytest.mark.parametrize("read", [read_yaml, read_yaml_to_edit])
def test_yaml_that_unfolds_or_nests_is_refused(read: Callable[[str, str], Any], text: str) -> None:
    with pytest.raises(BadDocument, match=r"\Aname\.yaml: (its aliases unfold|is nested|has \d+ bytes)") as caught:
        read(text, "name.yaml")
    assert isinstance(caught.value, ValueError)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", [text for name, text in YAML.items() if name != "bytes"])
@pytest.mark.parametrize("read", [read_pointer, stage_outputs, lambda text, file: read_lock(text, file, {})])
def test_pointers_and_pipelines_are_read_so(read: Callable[[bytes, str], Any], text: str) -> None:
    with pytest.raises(BadSettings, match=r"x\.dvc"):
        read(text.encode(), "x.dvc")


def test_what_users_write_is_read_as_before() -> None:
    text = "a: &x {k: [1, 2]}\nb: *x\nc: {<<: *x, l: 2020-01-02}  # said\n"
    assert read_yaml(text, "f")["b"] == {"k": [1, 2]}
    assert "# said" in write_yaml(read_yaml_to_edit(text, "f"))
    with pytest.raises(BadDocument, match=r"f: uses the alias \*x"):
        read_yaml(text, "f", aliases=False)
    with pytest.raises(BadDocument, match="more than 3 values"):
        read_yaml("[1, 2, 3]", "f", most_nodes=3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested deeper"),
        ('{"a":' * 100_000, "nested deeper"),
        ("[" * 70 + "]" * 70, "nested deeper than 64"),
        ('{"a": 1', "is not JSON"),
        ("9" * 5000, "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (" " * 101, "has 101 bytes, at most 100"),
    ],
)
def test_json_that_nests_or_breaks_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadDocument, match=rf"\Arun\.json: .*{problem}"):
        read_json(
            text, "run.json", most_bytes=100 if text.startswith(" " if isinstance(text, str) else b" ") else 1 << 20
        )


def test_toml_that_nests_is_refused_in_settings(tmp_path: Path) -> None:
    hostile = b"jobs = " + b"[" * 50_000
    with pytest.raises(BadDocument, match="nested"):
        read_toml(hostile, "x")
    (tmp_path / ".datapin").mkdir()
    for data in (hostile, b"#" * (2 << 20), b"\xff"):
        (tmp_path / ".datapin" / "config.toml").write_bytes(data)
        with pytest.raises(BadSettings, match=r"\.datapin/config\.toml"):
            read_settings(tmp_path)
    (tmp_path / ".datapin" / "config.toml").unlink()
    os.mkfifo(tmp_path / ".datapin" / "config.toml")
    with pytest.raises(BadSettings, match="no regular file"):
        read_settings(tmp_path)


def test_a_pipe_a_device_and_a_large_file_are_no_documents(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadDocument, match="no regular file"):
            read_bounded(path, 10)
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(BadDocument, match="has 11 bytes"):
        read_bounded(tmp_path / "large", 10)
    with pytest.raises(IsADirectoryError):
        read_bounded(tmp_path, 10)


def test_every_flipped_bit_of_a_note_is_seen(tmp_path: Path) -> None:
    note, data = tmp_path / "note", sealed({"held": ["a", "b"], "n": 17})
    note.write_bytes(data)
    assert read_sealed(note) == {"held": ["a", "b"], "n": 17}
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        note.write_bytes(flipped)
        with pytest.raises(BadDocument):
            read_sealed(note)
