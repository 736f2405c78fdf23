"""What stands after the `@`: revisions, versions back, digests; and what is said of a name that fits nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clones import Clone
from datapin.base.errors import AmbiguousVersion, DatasetNotThere, ManifestMissing, UnknownDataset, UnknownVersion
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.tracking.track import track
from datapin.pins.selectors import PinnedVersion, resolve_version
from pinning import Pin, write_shards


def digest_of(*contents: bytes) -> str:
    return f"sha256:{hashlib.sha256(b''.join(contents)).hexdigest()}"


def digest_at(clone: Clone, version: str, dataset: str = "data/raw") -> str | None:
    return resolve_version(clone.path, dataset, version).pointer.digest


def pin_with_digest(root: Path, content: bytes, digest: str, dataset: str = "data/raw") -> str:
    write_shards(root / dataset, content)
    return track(root, dataset, {"digest": f"sha256:{digest}", "rows": 1, "bytes": 1})


def write_lock(root: Path, md5: str, path: str = "data/made", folder: str = "") -> None:
    outs = f"    - path: {path}\n      hash: md5\n      md5: {md5}\n      size: 1\n      nfiles: 1\n"
    (root / folder / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n  make:\n    cmd: make\n    outs:\n{outs}")


@pytest.fixture
def line(clone: Clone, pin: Pin) -> Clone:
    """Versions 1, 2 and 3 of data/raw, tagged v1, v2, v3, with commits between that did not touch it."""
    for number in (1, 2, 3):
        pin(b"%d" % number)
        clone.commit(f"version {number}")
        clone.git("tag", f"v{number}")
        (clone.path / "code.py").write_text(f"{number}")
        clone.commit("code only")
    return clone


@pytest.mark.parametrize(
    ("version", "content"),
    [
        ("HEAD", b"3"), ("main", b"3"), ("v1", b"1"), ("v2^{}", b"2"), ("HEAD~2", b"2"), ("@", b"3"),
        ("HEAD@{0}", b"3"),        ("~0", b"3"), ("~1", b"2"), ("~", b"2"), ("~2", b"1"),
        ("-0", b"3"), ("-1", b"2"), ("-2", b"1"), ("@-0", b"3"), ("@-1", b"2"), ("@-2", b"1"),
    ],
)  # fmt: skip
def test_a_version_by_its_revision_and_by_how_far_back_it_is(line: Clone, version: str, content: bytes) -> None:
    assert digest_at(line, version) == digest_of(content)


def test_a_version_by_the_digits_of_its_digest_wherever_it_is(line: Clone, pin: Pin) -> None:
    line.git("checkout", "-q", "-b", "side", "v1")
    pin(b"side")
    made = line.commit("side")
    line.git("checkout", "-q", "main")
    digits = digest_of(b"side").removeprefix("sha256:")
    for version in (digits[:8], digits[:20].upper(), digits, f"sha256:{digits[:8]}", f"sha256:{digits}"):
        found = resolve_version(line.path, "data/raw", version)
        assert (found.pointer.digest, found.commit) == (f"sha256:{digits}", made)
    md5 = found.pointer.md5
    assert resolve_version(line.path, "data/raw", md5[:10]).pointer.md5 == md5
    with pytest.raises(UnknownVersion, match="8 to 64 hex"):
        digest_at(line, f"sha256:{digits[:7]}")
    with pytest.raises(UnknownVersion):
        digest_at(line, digits[:7])


def test_the_commit_is_the_one_that_was_asked_for_or_that_made_the_version(line: Clone) -> None:
    assert resolve_version(line.path, "data/raw", "HEAD").commit == line.git("rev-parse", "HEAD").strip()
    assert resolve_version(line.path, "data/raw", "~1").commit == line.git("rev-parse", "v2").strip()
    assert resolve_version(line.path, "data/raw", "v2").commit == line.git("rev-parse", "v2").strip()


def test_digits_that_two_versions_share_are_ambiguous(clone: Clone) -> None:
    for number, rest in enumerate("ab"):
        pin_with_digest(clone.path, b"%d" % number, "12345678" + rest * 56)
        clone.commit(f"{number}")
    with pytest.raises(AmbiguousVersion) as raised:
        digest_at(clone, "12345678")
    assert raised.value.exit_code == 10
    assert [text[:16] for text in raised.value.candidates] == ["sha256:12345678b", "sha256:12345678a"]
    assert digest_at(clone, "12345678b") == "sha256:12345678" + "b" * 56


def test_one_version_in_two_forms_of_files_is_not_ambiguous(clone: Clone) -> None:
    for content in (b"one form", b"another form"):
        pin_with_digest(clone.path, content, "12345678" + "a" * 56)
        clone.commit("same rows")
    assert digest_at(clone, "12345678") == "sha256:12345678" + "a" * 56
    with pytest.raises(UnknownVersion, match="1 version"):
        digest_at(clone, "~1")


def test_digits_of_a_commit_and_of_another_versions_digest_are_ambiguous(clone: Clone, pin: Pin) -> None:
    pin(b"old")
    commit = clone.commit("old")
    pin_with_digest(clone.path, b"new", commit[:12] + "a" * 52)
    clone.commit("new")
    with pytest.raises(AmbiguousVersion) as raised:
        digest_at(clone, commit[:10])
    assert f"commit {commit[:12]}" in raised.value.message
    assert f"sha256:{commit[:12]}" in raised.value.message
    assert digest_at(clone, commit) == digest_of(b"old")
    assert digest_at(clone, f"sha256:{commit[:10]}") == f"sha256:{commit[:12]}{'a' * 52}"
    clone.git("branch", commit[:10])
    assert digest_at(clone, f"heads/{commit[:10]}") == f"sha256:{commit[:12]}{'a' * 52}"


def test_a_commit_without_the_dataset_does_not_hide_a_digest(clone: Clone) -> None:
    commit = clone.git("rev-parse", "HEAD").strip()
    pin_with_digest(clone.path, b"1", commit[:12] + "a" * 52)
    clone.commit("data")
    assert digest_at(clone, commit[:12]) == f"sha256:{commit[:12]}{'a' * 52}"


def test_versions_back_go_along_first_parents(line: Clone, pin: Pin) -> None:
    line.git("checkout", "-q", "-b", "side")
    for content in (b"side 1", b"side 2"):
        pin(content)
        line.commit("side")
    line.git("checkout", "-q", "main")
    line.git("merge", "-q", "--no-ff", "side", "-m", "merge")
    assert [digest_at(line, f"~{n}") for n in range(4)] == [digest_of(c) for c in (b"side 2", b"3", b"2", b"1")]
    merge = line.git("rev-parse", "HEAD").strip()
    assert resolve_version(line.path, "data/raw", "~0").commit == merge


def test_a_dataset_that_head_removed_has_versions_from_1_on(line: Clone) -> None:
    line.git("rm", "-q", "data/raw.dvc")
    line.commit("removed")
    assert [digest_at(line, version) for version in ("~1", "~3")] == [digest_of(b"3"), digest_of(b"1")]
    with pytest.raises(DatasetNotThere, match="HEAD does not have it"):
        digest_at(line, "~0")
    with pytest.raises(UnknownVersion, match="~1 to ~3"):
        digest_at(line, "~4")


def test_a_version_that_came_back_counts_again(line: Clone, pin: Pin) -> None:
    pin(b"1")
    line.commit("back to 1")
    wanted = [digest_of(content) for content in (b"1", b"3", b"2", b"1")]
    assert [digest_at(line, f"~{number}") for number in range(4)] == wanted


def test_an_old_name_is_followed(line: Clone) -> None:
    line.git("mv", "data/raw.dvc", "data/photos.dvc")
    pointer = line.path / "data" / "photos.dvc"
    pointer.write_text(pointer.read_text().replace("path: raw", "path: photos"))
    line.commit("renamed")
    found = resolve_version(line.path, "data/photos", "v1")
    assert isinstance(found, PinnedVersion)
    assert (found.dataset, found.pointer.dataset, found.pointer.digest) == ("data/photos", "data/raw", digest_of(b"1"))
    assert digest_at(line, "~2", "data/photos") == digest_of(b"1")
    assert digest_at(line, digest_of(b"2")[7:19], "data/photos") == digest_of(b"2")
    assert digest_at(line, "v1", "data/raw") == digest_of(b"1")
    assert digest_at(line, "~1", "data/raw") == digest_of(b"3")


def test_an_output_of_a_stage_has_versions_too(clone: Clone, pin: Pin) -> None:
    made = []
    for number in (1, 2):
        md5 = pin(b"made %d" % number, dataset="scratch")
        (clone.path / "scratch.dvc").unlink()
        write_lock(clone.path, md5)
        made.append(md5)
        clone.commit(f"made {number}")
        (clone.path / "dvc.lock").write_text((clone.path / "dvc.lock").read_text().replace("cmd: make", "cmd: m"))
        clone.commit("another command, the same output")

    def find_digest(pointer: PinnedOut) -> str:
        if pointer.md5 == made[0]:
            raise ManifestMissing(pointer.dataset, "all of it")
        return "sha256:" + "f" * 64

    found = [resolve_version(clone.path, "data/made", version).pointer for version in ("~0", "~1")]
    assert [(pointer.md5, pointer.stage) for pointer in found] == [(made[1], "make"), (made[0], "make")]
    assert resolve_version(clone.path, "data/made", "ffffffff", find_digest).pointer.md5 == made[1]
    assert resolve_version(clone.path, "data/made", made[0][:9], find_digest).pointer.md5 == made[0]
    with pytest.raises(UnknownVersion):
        resolve_version(clone.path, "data/made", "ffffffff")


def test_what_is_unknown_names_what_there_is(line: Clone, pin: Pin) -> None:
    pin(b"x", dataset="data/other")
    line.commit("other")
    with pytest.raises(UnknownVersion) as raised:
        digest_at(line, "v11")
    assert "no such revision" in raised.value.message
    assert raised.value.candidates[0] in ("v1", "v2", "v3")
    assert any(text.startswith("~0 (") for text in raised.value.candidates)
    assert raised.value.hint == "run `datapin log data/raw` to see its versions"
    with pytest.raises(DatasetNotThere) as absent:
        digest_at(line, "v1", "data/other")
    assert absent.value.candidates == ("data/raw",)
    with pytest.raises(UnknownDataset) as no_dataset:
        digest_at(line, "v1", "data/nothing")
    assert no_dataset.value.known == ("data/raw",)
    for version in ("nosuch", "~1", "cafecafe", "sha256:cafecafe"):
        with pytest.raises(UnknownDataset) as no_dataset:
            digest_at(line, version, "data/nothing")
        assert no_dataset.value.known == ("data/other", "data/raw")
    for odd in (
        "--all",
        "-x",
        "-",
        "@-",
        "-1x",
        "@@-1",
        "--1",
        "-٢",
        "@-3",
        "v1..v2",
        "~x",
        "~-1",
        "HEAD:data/raw.dvc",
        "v1\n",
        "",
        "nö",
    ):
        with pytest.raises(UnknownVersion):
            digest_at(line, odd)


def test_a_folder_that_dvc_tracks_is_no_dataset(line: Clone) -> None:
    (line.path / "photos").mkdir()
    (line.path / "photos" / "a.png").write_bytes(b"a")
    line.dvc("add", "-q", "photos")
    line.commit("photos")
    for version in ("HEAD", "~0"):
        with pytest.raises(UnknownDataset, match=r"photos\.dvc pins files that are no manifest") as raised:
            digest_at(line, version, "photos")
        assert raised.value.known == ("data/raw",)


def test_before_the_first_commit_nothing_is_a_version(tmp_path: Path) -> None:
    fresh = Clone(tmp_path)
    fresh.git("init", "-q")
    fresh.dvc("init", "-q")
    for version in ("HEAD", "~0", "cafecafe", "sha256:cafecafe"):
        with pytest.raises(UnknownVersion):
            digest_at(fresh, version)


def test_an_abbreviation_of_two_commits_is_ambiguous(line: Clone) -> None:
    seen: dict[str, str] = {}
    tree = line.git("rev-parse", "HEAD^{tree}").strip()
    for number in range(2000):
        commit = line.run("git", "commit-tree", tree, "-m", str(number)).stdout.strip()
        other = seen.setdefault(commit[:4], commit)
        if other != commit:
            break
    with pytest.raises(AmbiguousVersion) as raised:
        digest_at(line, commit[:4])
    assert {f"commit {commit[:12]}", f"commit {other[:12]}"} <= set(raised.value.candidates)
