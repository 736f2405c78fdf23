"""A pointer that is no whole one is never taken for one that pins nothing, or something else."""

from __future__ import annotations

import pytest

from datapin.base.errors import BadSettings
from datapin.dvcfiles.outs import read_pointer

MD5 = "0123456789abcdef0123456789abcdef"
GOOD = f"""\
outs:
- md5: {MD5}.dir
  size: 12345
  nfiles: 1
  hash: md5
  path: raw
  meta:
    datapin:
      for: {MD5}.dir
      digest: sha256:{MD5}{MD5}
      rows: 12
      bytes: 1200
      source:
      - img
"""
FILE = f"outs:\n- md5: {MD5}\n  size: 12\n  hash: md5\n  path: model.bin\n"


@pytest.mark.parametrize(
    ("text", "file", "out"), [(GOOD, "data/raw.dvc", "raw"), (FILE, "data/model.bin.dvc", "model.bin")]
)
def test_of_a_pointer_that_was_cut_anywhere_the_rest_pins_the_same_or_is_refused(
    text: str, file: str, out: str
) -> None:
    whole = text.index("path: ") + len(f"path: {out}")
    for length in range(len(text)):
        part = text[:length].encode()
        try:
            outs = read_pointer(part, file)
        except BadSettings:
            continue
        assert length >= whole, part
        assert [one.path for one in outs] == [f"data/{out}"]
        assert outs[0].md5 in (MD5, f"{MD5}.dir")


_BAD = {
    "empty": b"",
    "blank": b"\n\n",
    "comment": b"# nothing\n",
    "no outs": b"md5: 1\n",
    "outs none": b"outs:\n",
    "outs empty": b"outs: []\n",
    "outs text": b"outs: raw\n",
    "recursive": b"outs: &a [*a]\n",
    "recursive mapping": b"&a\nouts: *a\n",
    "no md5": b"outs:\n- size: 1\n  path: raw\n",
    "md5 null": b"outs:\n- md5:\n  path: raw\n",
    "md5 short": b"outs:\n- md5: 0123.dir\n  path: raw\n",
    "md5 number": b"outs:\n- md5: 12\n  path: raw\n",
    "md5 list": b"outs:\n- md5: [a]\n  path: raw\n",
    "path list": f"outs:\n- md5: {MD5}.dir\n  path: [raw]\n".encode(),
    "size text": f"outs:\n- md5: {MD5}.dir\n  size: many\n  path: raw\n".encode(),
    "size negative": f"outs:\n- md5: {MD5}.dir\n  size: -1\n  path: raw\n".encode(),
    "nfiles true": f"outs:\n- md5: {MD5}.dir\n  nfiles: true\n  path: raw\n".encode(),
    "second": f"outs:\n- md5: {MD5}.dir\n  path: raw\n- path: other\n".encode(),
    "twice": f"outs:\n- md5: {MD5}.dir\n  md5: {MD5}.dir\n  path: raw\n".encode(),
    "binary": bytes(range(256)),
    "latin": "outs:\n- path: räw\n".encode("latin-1"),
    "utf-16": GOOD.encode("utf-16"),
    "nul": GOOD.encode() + b"\0",
    "list": b"- outs\n",
    "tag": b"outs: !!python/object/apply:os.system [ls]\n",
}


@pytest.mark.parametrize("name", _BAD)
def test_what_pins_nothing_is_refused_with_the_file_named(name: str) -> None:
    with pytest.raises(BadSettings) as caught:
        read_pointer(_BAD[name], "data/raw.dvc")
    assert caught.value.message.startswith("data/raw.dvc: ")
    assert len(caught.value.message) < 300
    assert caught.value.hint


_GOOD = {
    "plain": FILE.encode(),
    "import that has not run": b"deps:\n- path: x\n  repo:\n    url: y\nouts:\n- path: raw\n",
    "etag": b"outs:\n- etag: abc\n  size: 1\n  path: s3://b/raw\n",
    "cloud version": b"outs:\n- path: raw\n  files:\n  - relpath: a\n    md5: 0123456789abcdef0123456789abcdef\n",
    "wdir": f"wdir: ..\nouts:\n- md5: {MD5}.dir\n  path: raw\n".encode(),
    "no line end": FILE.encode().rstrip(),
    "old": f"md5: {MD5}\nouts:\n- md5: {MD5}\n  cache: true\n  metric: false\n  path: x\n".encode(),
}


@pytest.mark.parametrize("name", _GOOD)
def test_whatever_dvc_has_ever_written_is_read(name: str) -> None:
    read_pointer(_GOOD[name], "model.bin.dvc")
