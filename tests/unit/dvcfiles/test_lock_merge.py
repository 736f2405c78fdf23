"""`dvc.lock` merged stage by stage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from datapin.base.errors import BadSettings, Refused
from datapin.dvcfiles.merging.locks import merge_locks

STAGE = st.fixed_dictionaries({"cmd": st.sampled_from(["one", "two", "three"])})
STAGES = st.dictionaries(st.sampled_from("abcdef"), STAGE)


def lock(stages: dict[str, Any], **more: Any) -> bytes:
    lines = ["schema: '2.0'", "stages:" if stages else "stages: {}"]
    for name, stage in stages.items():
        lines += [f"  {name}:", f"    cmd: {stage['cmd']}"]
    lines += [f"{name}: {value}" for name, value in more.items()]
    return ("\n".join(lines) + "\n").encode()


def read(text: str) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return document


@given(STAGES, STAGES, STAGES)
def test_each_stage_is_the_side_that_changed_it_or_left_out(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    merged = merge_locks(lock(base), lock(ours), lock(theirs), "dvc.lock")
    assert merged == merge_locks(lock(base), lock(theirs), lock(ours), "dvc.lock")
    document = read(merged.text)
    assert document["schema"] == "2.0"
    for name in {*base, *ours, *theirs}:
        was, one, other = base.get(name), ours.get(name), theirs.get(name)
        if one == other or other == was:
            assert document["stages"].get(name) == one
        elif one == was:
            assert document["stages"].get(name) == other
        else:
            assert name in merged.dropped
            assert name not in document["stages"]
    assert set(document["stages"]).isdisjoint(merged.dropped)


def test_the_text_is_what_dvc_writes_and_order_stays() -> None:
    base = {"z": {"cmd": "one"}, "a": {"cmd": "one"}}
    ours = {**base, "n": {"cmd": "one"}}
    theirs = {**base, "a": {"cmd": "two"}, "m": {"cmd": "one"}}
    merged = merge_locks(lock(base), lock(ours), lock(theirs), "dvc.lock")
    assert merged.text.encode() == lock({"z": base["z"], "a": theirs["a"], "m": ours["n"], "n": ours["n"]})
    assert merged.dropped == ()


def test_two_first_locks_have_no_common_version() -> None:
    merged = merge_locks(b"", lock({"a": {"cmd": "one"}}), lock({"b": {"cmd": "one"}}), "dvc.lock")
    assert list(read(merged.text)["stages"]) == ["a", "b"]


def test_dvcs_datasets_are_kept_and_merged_by_name() -> None:
    base, ours = lock({}), lock({}, datasets="[{name: x, type: url, url: u}]")
    theirs = lock({}, datasets="[{name: y, type: url, url: u}]")
    merged = merge_locks(base, ours, theirs, "dvc.lock")
    assert [one["name"] for one in read(merged.text)["datasets"]] == ["x", "y"]
    with pytest.raises(Refused, match="both sides updated x"):
        merge_locks(base, ours, lock({}, datasets="[{name: x, type: url, url: other}]"), "dvc.lock")


@pytest.mark.parametrize("text", [b"<<<<<<< ours\n", b"a: [", b"- x\n", b"stages: [a]\n", b"\xff"])
def test_text_that_is_no_lock_is_an_error(text: bytes) -> None:
    good = lock({"a": {"cmd": "one"}})
    with pytest.raises((BadSettings, Refused)):
        merge_locks(good, text, good, "dvc.lock")
