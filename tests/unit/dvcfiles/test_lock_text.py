"""The quick reader of `dvc.lock` against the YAML reader: the same answer, or the work is left to YAML."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from datapin.base.errors import DatapinError
from datapin.dvcfiles import outs
from datapin.dvcfiles.outs import PinnedOut, _lock_by_yaml, read_lock

MD5 = "5f44882a0299db44b3bc5ce61c6c224e"
ODD_TEXTS = [
    "x y", "it's", 'say "so"', "a: b", "- a", "# no", "outs:", "    outs:", "two\nlines", "a\n    outs:\n    - path: b",
]  # fmt: skip
ODD_PATHS = ["data/out", "a", "../up", "true", "1", "x y", "ü", "~", "-", "..", "no"]
SCALARS = st.one_of(
    st.text(max_size=30),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.sampled_from(ODD_TEXTS),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = st.one_of(st.sampled_from(ODD_PATHS), st.text(max_size=12))
OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {"path": PATHS, "hash": st.just("md5"), "md5": st.sampled_from([MD5, f"{MD5}.dir", "short.dir"])},
        optional={"size": st.integers(0), "nfiles": st.integers(0), "isexec": st.booleans(), "files": VALUES},
    ),
    max_size=3,
)
STAGES = st.dictionaries(
    st.one_of(st.sampled_from(["prepare", "train@a", "yes", "1", "two words"]), st.text(min_size=1, max_size=8)),
    st.fixed_dictionaries({"cmd": VALUES}, optional={"params": VALUES, "outs": OUTPUTS}),
    max_size=3,
)


def dumped(document: dict[str, Any]) -> bytes:
    """As DVC dumps it."""
    yaml = YAML()
    yaml.default_flow_style = False
    into = io.BytesIO()
    yaml.dump(document, into)
    return into.getvalue()


def answer(
    read: Callable[[bytes, str, dict[str, str]], list[PinnedOut]], text: bytes
) -> list[PinnedOut] | type[DatapinError]:
    try:
        return read(text, "sub/dvc.lock", {"train": "elsewhere"})
    except DatapinError as error:
        return type(error)


@settings(max_examples=150, deadline=None)
@given(STAGES)
def test_what_dvc_writes_is_read_alike(stages: dict[str, Any]) -> None:
    text = dumped({"schema": "2.0", "stages": stages})
    assert answer(read_lock, text) == answer(_lock_by_yaml, text)


PLAIN = f"""\
schema: '2.0'
stages:
  prepare:
    cmd: datapin run prepare --where "split = 'train'"
    deps:
    - path: data/raw
      hash: md5
      md5: {MD5}.dir
    params:
      params.yaml:
        prepare.ratios: [0.7, 0.3]
        prepare.name: it is # not a comment
    outs:
    - path: data/prepared
      hash: md5
      md5: {MD5}.dir
      size: 71422
      nfiles: 1
    - path: reports/x.json
      md5: {MD5}
      size: 3
  train@a:
    cmd: |-
      one
      two
    outs:
    - path: data/out
      md5: {MD5}.dir
"""


def test_the_usual_text_needs_no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answer(_lock_by_yaml, PLAIN.encode())
    monkeypatch.delattr(outs, "_lock_by_yaml")
    found = answer(read_lock, PLAIN.encode())
    assert found == expected
    assert isinstance(found, list)
    assert [(p.dataset, p.stage, p.size, p.files) for p in found if isinstance(p, PinnedOut)] == [
        ("sub/data/prepared", "prepare", 71422, 1),
        ("sub/reports/x.json", "prepare", 3, None),
        ("elsewhere/data/out", "train@a", None, None),
    ]


@pytest.mark.parametrize(
    "change",
    [
        ("  prepare:\n", "    prepare:\n"),
        ("  prepare:\n    cmd", "  prepare:\n      cmd"),
        ("    cmd: |-\n", "    cmd: 'a\n"),
        ("    cmd: |-\n      one\n      two\n", "    cmd: [a,\n    outs:\n    - path: no\n    ]\n"),
        ("    cmd: |-\n", "    <<: {outs: []}\n    cmd: |-\n"),
        ("path: data/prepared", "path: data/prepared # note"),
        ("path: data/prepared", "path: &a data/prepared"),
        ("path: data/prepared", "path: 'data/prepared'"),
        ("path: data/prepared", "path: data/\n        prepared"),
        ("path: data/prepared", "path: 2020-01-01"),
        ("path: data/prepared", "path: true"),
        (f"md5: {MD5}\n", f"md5: {'0' * 32}\n"),
        (f"md5: {MD5}\n", f"md5: {'12e' + '3' * 29}\n"),
        ("size: 71422", "size: 0o17"),
        ("size: 71422", "size: 071"),
        (f"md5: {MD5}.dir\n      size", "md5: ABC.dir\n      size"),
        (f"md5: {MD5}.dir\n      size", f"md5: {MD5}.dir\n      md5: {MD5}.dir\n      size"),
        ("    outs:\n", "    outs: \n"),
        ("    outs:\n    - ", "    outs:\n      - "),
        ("schema: '2.0'", "schema: '1.0'"),
        ("schema: '2.0'", "<<<<<<< HEAD\nschema: '2.0'"),
        ("      nfiles: 1\n", "      nfiles: 1\n<<<<<<< HEAD\n"),
        ("  train@a:", "  prepare:"),
        ("stages:\n", "stages:\n\n"),
        ("\n", "\r\n"),
        ("one", "one\n\n"),
        ("    cmd: |-", "\tcmd: |-"),
        ("data/out", "data/out\\x85b"),
    ],
)
def test_any_other_text_is_read_as_yaml_would(change: tuple[str, str]) -> None:
    text = PLAIN.replace(*change).encode()
    assert text != PLAIN.encode()
    assert answer(read_lock, text) == answer(_lock_by_yaml, text)
