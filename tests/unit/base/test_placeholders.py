"""What stands for a file that is not here is told from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapin.base.errors import SourcesRefused
from datapin.base.placeholders import CURES, MOST_BYTES, placeholder_tool, refusal, tool_of_bytes, tool_of_link

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
TEXTS: dict[str, list[bytes]] = {
    "git-lfs": [
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode(),
        f"version https://git-lfs.github.com/spec/v1\next-0-foo sha256:{OID}\noid sha256:{OID}\nsize 1\n".encode(),
        f"version https://git-lfs.github.com/spec/v1\r\noid sha256:{OID}\r\nsize 12345\r\n".encode(),
        f"version https://hawser.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode(),
        f"version http://git-media.io/v/2\noid sha256:{OID}\nsize 12345\n".encode(),
    ],
    "git-annex": [
        f"/annex/objects/SHA256E-s12345--{OID}.png\n".encode(),
        b"/annex/objects/MD5E-s3--abc.png",
        f".git/annex/objects/Xq/zv/SHA256E-s1--{OID}.png/SHA256E-s1--{OID}.png".encode(),
        f"../../.git/annex/objects/Xq/zv/SHA256E-s1--{OID}.png/SHA256E-s1--{OID}.png".encode(),
        b"../.git/modules/sub/annex/objects/Xq/zv/WORM-s1-m2--a/WORM-s1-m2--a",
    ],
    "git-xet": [f"# xet version 0\nfilesize = 12345\nhash = '{OID}'\n".encode()],
    "git-fat": [b"#$# git-fat 8f5f8b2d5f8f2d0bbd6fa2d04d5a8d4d0d5c6c0e                12345\n"],
    "git-crypt": [b"\0GITCRYPT\0" + bytes(range(40)), b"\0GITCRYPT\0" + bytes(5000)],
}


@pytest.mark.parametrize("tool", TEXTS)
def test_a_placeholder_is_known_by_its_text(tool: str) -> None:
    for text in TEXTS[tool]:
        assert placeholder_tool("a/x.png", text) == tool
        assert tool_of_bytes(text) == tool


_OWN = [
    b"",
    b"version 1.0\n",
    b"version https://git-lfs.github.com/spec/v1\n",
    b"version https://example.com/v1\noid sha256:1\n",
    b"see /annex/objects/x for more\n",
    b"# a heading\n",
    b"outs:\n- md5: 0123\n  path: x\n",
    TEXTS["git-lfs"][0] + bytes(MOST_BYTES),
    b"\x89PNG\r\n\x1a\n",
]


@pytest.mark.parametrize("data", _OWN)
def test_a_file_of_ones_own_is_none(data: bytes) -> None:
    assert placeholder_tool("a/x.txt", data) is None


def test_some_are_known_by_their_name(tmp_path: Path) -> None:
    text = b"outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 4\n  hash: md5\n  path: x.png\n"
    pointer = str(tmp_path / "x.png.dvc")
    assert placeholder_tool(pointer, text) == "DVC"
    assert placeholder_tool(pointer, b"notes of mine\n") is None
    (tmp_path / "x.png").write_bytes(b"here")
    assert placeholder_tool(pointer, text) is None
    assert placeholder_tool("a/.x.png.icloud", b"bplist00\xd2") == "iCloud"
    assert placeholder_tool("a/x.plist", b"bplist00\xd2") is None


def test_a_link_into_an_annex_is_known_by_where_it_leads() -> None:
    assert tool_of_link(f"../.git/annex/objects/Xq/zv/SHA256E-s1--{OID}.png/SHA256E-s1--{OID}.png") == "git-annex"
    assert tool_of_link("../elsewhere/x.png") is None


def test_the_error_names_the_commands_that_help() -> None:
    error = SourcesRefused(tuple(f"x.png: {refusal(tool)}" for tool in CURES))
    assert [cure for cure in CURES.values() if f"`{cure}`" not in error.hint] == []
    assert "put these right" in SourcesRefused(("x.png: Permission denied",)).hint
