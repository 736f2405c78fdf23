"""Pointers in three versions: sources, notes, and the text that a conflict leaves."""

from __future__ import annotations

import pytest

from datapin.base.errors import Refused
from datapin.dvcfiles.merging.pointers import PointerSides, common_text, conflict_text, merge_notes, read_sides
from datapin.dvcfiles.outs import read_pointer

FILE = "data/raw.dvc"


def pointer(md5: str, *, source: str = "[img]", top: str = "", out: str = "", meta: str = "") -> bytes:
    return (
        f"{top}outs:\n- md5: {md5 * 32}.dir\n  size: 9\n  nfiles: 1\n  hash: md5\n  path: raw\n{out}  meta:\n{meta}"
        f"    datapin:\n      for: {md5 * 32}.dir\n      digest: sha256:{md5 * 64}\n      rows: 1\n      bytes: 2\n"
        f"      source: {source}\n"
    ).encode()


def sides(base: bytes, ours: bytes, theirs: bytes) -> PointerSides:
    found = read_sides(base, ours, theirs, FILE)
    assert found is not None
    return found


def taken(base: bytes, ours: bytes, theirs: bytes) -> str | None:
    side = sides(base, ours, theirs).taken
    return None if side is None else side.pointer.md5[0]


def test_whose_rows_are_taken_is_told_by_hashes_where_it_can_be() -> None:
    a, b, c = pointer("a"), pointer("b"), pointer("c")
    assert taken(a, b, a) == "b"
    assert taken(a, a, b) == "b"
    assert taken(a, b, b) == "b"
    assert taken(a, a, a) == "a"
    assert taken(a, b, c) is None
    assert taken(b"", b, c) is None
    assert taken(b"", b, b) == "b"


def test_sources_are_merged_the_same_way_from_both_sides() -> None:
    base, ours = pointer("a", source="[z, b, gone]"), pointer("b", source="[z, b, new, added]")
    theirs = pointer("c", source="[z, b, gone, more]")
    assert sides(base, ours, theirs).sources == ["z", "b", "added", "more", "new"]
    assert sides(base, theirs, ours).sources == ["z", "b", "added", "more", "new"]


def test_notes_of_both_sides_are_kept_and_those_that_differ_are_undecided() -> None:
    base = pointer("a", top="desc: old\n", meta="    both: 1\n    gone: 1\n")
    ours = pointer("b", top="desc: ours\n", out="  labels: [x]\n", meta="    both: 2\n")
    theirs = pointer("c", top="desc: theirs\n", meta="    both: 2\n    gone: 1\n    new: 3\n")
    notes, undecided = merge_notes(sides(base, ours, theirs), lambda name: None)
    assert undecided == {"desc": ("old", "ours", "theirs")}
    notes, undecided = merge_notes(sides(base, ours, theirs), lambda name: "theirs")
    assert (notes, undecided) == (
        {"desc": "theirs", "outs.labels": ["x"], "outs.meta.both": 2, "outs.meta.new": 3},
        {},
    )
    three = sides(base, ours, theirs)
    text = three.text(three.theirs.directory, {"digest": "d", "rows": 1, "bytes": 2, "source": []}, notes)
    (found,) = read_pointer(text.encode(), FILE)
    assert (found.md5, found.digest) == ("c" * 32 + ".dir", "d")
    for line in ("desc: theirs", "labels: [x]", "new: 3"):
        assert line in text
    assert "gone" not in text


def test_a_conflict_is_refused_by_readers_and_gives_back_its_common_version() -> None:
    base, ours, theirs = pointer("a"), pointer("b"), pointer("c").rstrip(b"\n")
    text = conflict_text(base, ours, theirs)
    with pytest.raises(Refused):
        read_pointer(text, FILE)
    assert common_text(text) == base
    assert common_text(base) == base
    assert common_text(conflict_text(text, ours, theirs)) == base
    assert common_text(b"<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs\n") == b""
    assert sides(text, ours, theirs).base == sides(base, ours, theirs).base


def test_a_side_that_renamed_the_folder_names_it_for_all() -> None:
    base, ours, theirs = pointer("a"), pointer("b").replace(b"path: raw", b"path: new"), pointer("c")
    for one, other in ((ours, theirs), (theirs, ours)):
        for file in (FILE, "data/new.dvc"):
            found = read_sides(base, one, other, file)
            assert found is not None
            assert (found.dataset, found.file) == ("data/new", "data/new.dvc")
            assert found.base is not None
            assert "path: new" in found.text(found.ours.directory, {}, {})
    assert read_sides(base, ours, theirs.replace(b"path: raw", b"path: other"), FILE) is None
    assert read_sides(b"", ours, theirs, FILE) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"outs:\n- md5: 0123\n  path: raw\n",
        b"\xff",
        pointer("a").replace(b"path: raw", b"path: other"),
        b"wdir: ..\n" + pointer("a"),
        b"frozen: true\n" + pointer("a"),
    ],
)
def test_what_is_no_plain_pointer_of_the_same_folder_is_not_merged_by_us(text: bytes) -> None:
    assert read_sides(b"", text, pointer("b"), FILE) is None
    assert read_sides(b"", pointer("b"), text, FILE) is None
