"""`datapin log` and selectors, end to end: real commits, real remotes, what people see and what programs read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from clones import Clone, write_images
from datapin.dvcfiles.tracking.track import track
from datapin.manifest.edit import edit_manifest
from datapin.manifest.files.shards import CutRules
from datapin.manifest.write import write_manifest
from remotes import Worker

Edit = Callable[..., str]


@pytest.fixture(scope="session")
def lined(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/raw in three versions by two people; the first is tagged v1, the second v2 a commit later."""
    clone = Clone(tmp_path_factory.mktemp("lined") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    worker = Worker(clone.path)
    write_images(clone.path / "img")
    worker.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q").done()
    clone.commit("first photos")
    clone.git("tag", "v1")
    worker.datapin("update", "data/raw", "--set", "label='c'", "--where", "key = 'a/00.bin'", "-q").done()
    clone.git(
        "commit", "-qam", "a/00 is a c", "--author", "Ada <ada@example.com>", "--date", "2024-02-03T04:05:06+07:00"
    )
    (clone.path / "code.py").write_text("x")
    clone.commit("code only")
    clone.git("tag", "-a", "v2", "-m", "second")
    worker.datapin("remove", "data/raw", "--where", "key = 'b/05.bin'", "-q").done()
    (clone.path / "img" / "b" / "05.bin").unlink()
    (clone.path / "img" / "a" / "99.bin").write_bytes(b"new" * 10)
    worker.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q").done()
    worker.datapin("update", "data/raw", "--set", "label='c'", "--where", "key = 'a/00.bin'", "-q").done()
    clone.commit("one in, one out")
    return clone.path


@pytest.fixture
def line(lined: Path, tmp_path: Path) -> Clone:
    shutil.copytree(lined, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def ask(clone: Clone, *words: str) -> Any:
    return Worker(clone.path).datapin(*words, "--json").done().report


def said(clone: Clone, *words: str) -> str:
    return Worker(clone.path).datapin(*words).done().out


def edit(clone: Clone, where: str, label: str, message: str, dataset: str = "data/raw") -> str:
    Worker(clone.path).datapin("update", dataset, "--set", f"label='{label}'", "--where", where, "-q").done()
    return clone.commit(message)


def counts(entries: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["subject"], one["rows"], one["added"], one["removed"], one["changed"]) for one in entries]


def test_log_tells_each_version_with_its_counts(line: Clone) -> None:
    entries = ask(line, "log", "data/raw")
    assert counts(entries) == [
        ("one in, one out", 12, 1, 1, 0),
        ("a/00 is a c", 12, 0, 0, 1),
        ("first photos", 12, 12, 0, 0),
    ]
    assert [one["tags"] for one in entries] == [[], ["v2"], ["v1"]]
    assert [one["back"] for one in entries] == [0, 1, 2]
    assert (entries[1]["author"], entries[1]["date"]) == ("Ada", "2024-02-03T04:05:06+07:00")
    assert [one["commit"] for one in entries] == line.git("rev-list", "HEAD", "--", "data/raw.dvc").split()
    for one in entries:
        shown = ask(line, "show", f"data/raw@{one['commit']}")
        assert (one["digest"], one["rows"], one["bytes"]) == (shown["digest"], shown["rows"], shown["bytes"])
        assert ask(line, "show", f"data/raw@~{one['back']}")["digest"] == one["digest"]
        assert one["note"] is None
    assert ask(line, "log", "data/raw", "-n", "1") == entries[:1]
    assert [one["commit"] for one in ask(line, "log", "data/raw@v2")] == [one["commit"] for one in entries[1:]]


def test_log_for_people_is_aligned_and_cannot_write_to_the_terminal(line: Clone) -> None:
    edit(line, "key = 'b/00.bin'", "d", "evil \x1b[31m subject")
    lines = said(line, "log", "data/raw").splitlines()
    assert len(lines) == 5
    assert "\x1b" not in "".join(lines)
    assert lines[1].endswith("evil \\x1b[31m subject")
    assert lines[3].endswith("(v2) a/00 is a c")
    assert lines[4].startswith("~3")
    column = lines[0].index("subject")
    assert [text[column:] for text in lines[2:4]] == ["one in, one out", "(v2) a/00 is a c"]
    assert "+12" in lines[4]


def test_log_from_a_folder_below_and_from_a_process_of_its_own(line: Clone) -> None:
    expected = ask(line, "log", "data/raw")
    assert line.json("log", "data/raw") == expected
    for name in ("raw", "data/raw"):
        assert json.loads(line.datapin("log", name, "--json", cwd=line.path / "data").stdout) == expected
        assert line.datapin("show", f"{name}@~1", cwd=line.path / "data").stdout.startswith("data/raw@~1")


def test_a_dataset_is_named_by_its_path_from_a_folder_that_holds_none(line: Clone) -> None:
    folder = line.path / "code" / "deep"
    folder.mkdir(parents=True)
    for cwd, name in ((folder, "../../data/raw"), (folder.parent, "../data/raw"), (line.path / "data" / "raw", ".")):
        assert json.loads(line.datapin("log", name, "--json", cwd=cwd).stdout) == ask(line, "log", "data/raw")
        assert line.datapin("show", f"{name}@~1", cwd=cwd).stdout.startswith("data/raw@~1")
        line.datapin("rollback", name, "--to", "~1", "--dry-run", cwd=cwd)
    line.datapin("log", "../../../data/raw", cwd=folder, code=2)


def test_selectors_work_wherever_a_dataset_is_named(line: Clone, tmp_path: Path) -> None:
    digest = ask(line, "log", "data/raw")[2]["digest"].removeprefix("sha256:")
    for version in ("v1", "~2", digest[:8], f"sha256:{digest[:12]}"):
        name = f"data/raw@{version}"
        assert ask(line, "show", name)["digest"] == f"sha256:{digest}"
        assert ask(line, "ls", name, "--where", "key = 'a/00.bin'", "--columns", "label") == [{"label": "a"}]
        assert ask(line, "query", f"SELECT count(*) AS n FROM '{name}' WHERE label = 'c'") == [{"n": 0}]
        assert ask(line, "checkout", name, "--into", f"out-{version}")["written"] == 12
        ended = line.run("python", "-c", f"import datapin; print(datapin.open('data/raw', version={version!r}).digest)")
        assert ended.stdout.strip() == f"sha256:{digest}"
    line.dvc("remote", "add", "--default", "lab", str(tmp_path / "remote"))
    Worker(line.path).datapin("push", "--all-versions").done()
    assert ask(line, "fetch", "data/raw@~2", f"data/raw@{digest[:8]}")["datasets"] == ["data/raw"]


def test_a_name_that_fits_nothing_is_one_line_with_candidates(line: Clone) -> None:
    (line.path / "photos").mkdir()
    (line.path / "photos" / "a.png").write_bytes(b"a")
    worker = Worker(line.path)
    line.dvc("add", "-q", "photos")
    line.commit("photos")
    for words, expected in {
        ("show", "data/raw@v9"): ["v1", "~0"],
        ("show", "data/raw@~7"): ["3 version(s)", "~2"],
        ("show", "data/rwa@v1"): ["data/rwa", "data/raw"],
        ("show", "photos"): ["photos.dvc", "not a dataset", "data/raw"],
        ("show", "photos@HEAD"): ["photos.dvc", "not a dataset", "data/raw"],
        ("log", "photos"): ["photos.dvc", "not a dataset"],
        ("show", "img"): ["not a dataset", "data/raw"],
        ("log", "nothing"): ["nothing", "data/raw"],
        ("log", "data/raw@cafecafe"): ["digest", "~0"],
        ("log", "data/raw", "--key", "99.bin"): ["no version has a row '99.bin'", "a/99.bin"],
        ("fetch", "data/raw@~7"): ["no default remote"],
    }.items():
        message = worker.datapin(*words).refused(10)
        assert all(part in message for part in expected), message


def test_a_dataset_whose_name_has_an_at(line: Clone) -> None:
    # A new dataset cannot be called so any more; one of an earlier version goes on.
    shutil.copytree(line.path / "data" / "raw", line.path / "data" / "r@w")
    line.dvc("add", "-q", "data/r@w")
    line.commit("an odd name")
    assert ask(line, "show", "data/r@w")["rows"] == 12
    assert ask(line, "show", "data/r@w@HEAD")["rows"] == 12
    assert ask(line, "show", "data/r@w@HEAD@{0}")["dataset"] == "data/r@w@HEAD@{0}"
    assert ask(line, "show", "data/raw@HEAD@{0}")["rows"] == 12
    assert len(ask(line, "log", "data/r@w")) == 1


def test_log_over_merges_squashes_renames_and_returns(line: Clone) -> None:
    line.git("checkout", "-q", "-b", "side")
    edit(line, "label = 'b'", "bb", "side")
    line.git("checkout", "-q", "main")
    line.dvc("checkout", "-q")
    line.git("merge", "-q", "--no-ff", "side", "-m", "merge")
    line.git("checkout", "-q", "-b", "squashed")
    line.dvc("checkout", "-q")
    edit(line, "key = 'a/01.bin'", "x", "to be squashed 1")
    edit(line, "key = 'a/02.bin'", "x", "to be squashed 2")
    line.git("checkout", "-q", "main")
    line.git("merge", "-q", "--squash", "squashed")
    line.commit("squash")
    line.git("rm", "-q", "data/raw.dvc")
    line.commit("gone")
    line.git("checkout", "-q", "HEAD~1", "--", "data/raw.dvc")
    line.commit("back")
    line.git("mv", "data/raw.dvc", "data/photos.dvc")
    shutil.rmtree(line.path / "data" / "raw")
    pointer = line.path / "data" / "photos.dvc"
    pointer.write_text(pointer.read_text().replace("path: raw", "path: photos"))
    line.commit("renamed")
    line.dvc("checkout", "-q")
    entries = ask(line, "log", "data/photos")
    assert counts(entries)[:4] == [
        ("back", 12, 12, 0, 0), ("gone", 0, 0, 12, 0), ("squash", 12, 0, 0, 2), ("side", 12, 0, 0, 5),
    ]  # fmt: skip
    assert [one["back"] for one in entries] == [0, None, None, 1, 2, 3, 4]
    assert [one["dataset"] for one in entries] == ["data/raw"] * 7
    text = said(line, "log", "data/photos")
    assert "removed: gone" in text
    assert ask(line, "show", "data/photos@v1")["rows"] == 12
    history = ask(line, "log", "data/photos", "--key", "a/01.bin")
    assert [(one["subject"], one["change"]) for one in history] == [
        ("back", "added"), ("gone", "removed"), ("squash", "changed"), ("first photos", "added"),
    ]  # fmt: skip


def test_a_version_that_was_pinned_before_and_tags_in_between(line: Clone) -> None:
    edit(line, "key = 'a/01.bin'", "x", "x")
    line.git("tag", "tx")
    edit(line, "key = 'a/01.bin'", "a", "as it was")
    line.git("tag", "again")
    line.git("tag", "v3", "HEAD~2")
    entries = ask(line, "log", "data/raw")
    assert [one["tags"] for one in entries] == [["again"], ["tx"], ["v3"], ["v2"], ["v1"]]
    assert entries[0]["digest"] == entries[2]["digest"]
    assert [one["back"] for one in entries] == [0, 1, 2, 3, 4]


def test_row_history_says_who_changed_what_from_what_to_what(line: Clone) -> None:
    entries = ask(line, "log", "data/raw", "--key", "a/00.bin")
    assert [(one["change"], one["author"], one["subject"]) for one in entries] == [
        ("changed", "Ada", "a/00 is a c"), ("added", "t", "first photos"),
    ]  # fmt: skip
    assert (entries[0]["before"], entries[0]["after"]) == ({"label": "a"}, {"label": "c"})
    assert entries[1]["before"] is None
    assert entries[1]["after"]["key"] == "a/00.bin"
    text = said(line, "log", "data/raw", "--key", "a/00.bin")
    assert "2024-02-03  Ada  changed  a/00 is a c" in text
    assert "~ label: a → c" in text
    assert [one["change"] for one in ask(line, "log", "data/raw", "--key", "b/05.bin")] == ["removed", "added"]
    assert [one["subject"] for one in ask(line, "log", "data/raw", "--key", "a/99.bin")] == ["one in, one out"]
    assert len(ask(line, "log", "data/raw", "--key", "b/05.bin", "-n", "1")) == 1
    assert ask(line, "log", "data/raw@v1", "--key", "a/00.bin")[0]["change"] == "added"


def test_row_history_sees_a_new_asset_under_an_old_key(line: Clone) -> None:
    (line.path / "img" / "a" / "01.bin").write_bytes(b"another photo")
    Worker(line.path).datapin("add", "img", "--to", "data/raw", "-q").done()
    line.commit("a better photo")
    first = ask(line, "log", "data/raw", "--key", "a/01.bin")[0]
    assert (first["change"], set(first["before"])) == ("changed", {"asset_id", "size"})
    assert first["after"]["size"] == 13
    assert f"{first['before']['asset_id'][:12]} → {first['after']['asset_id'][:12]}" in said(
        line, "log", "data/raw", "--key", "a/01.bin"
    )


def test_row_history_reads_only_the_shard_that_can_hold_the_key(repo: Clone) -> None:
    few = CutRules(least_rows=4, most_rows=9, modulus=4)
    keys = pa.array([f"{number:03d}" for number in range(60)])
    table = pa.table({"key": keys, "asset_id": pa.array(["a" * 64] * 60), "size": pa.array(range(60), pa.int64())})
    (repo.path / "data").mkdir()
    manifest = write_manifest(table, repo.path / "data" / "raw", rules=few)
    assert len(manifest.shards) > 5
    repo.dvc("add", "-q", "data/raw")
    repo.commit("first")
    row = table.slice(30, 1).append_column("label", pa.array(["seen"]))
    edit_manifest(manifest, repo.path / "new", upserts=row, rules=few)
    shutil.rmtree(repo.path / "data" / "raw")
    (repo.path / "new").rename(repo.path / "data" / "raw")
    track(repo.path, "data/raw", {"digest": "sha256:" + "0" * 64})
    repo.commit("second")
    for one in manifest.shards:
        if not one.first_key <= "030" <= one.last_key:
            # Its footer, which opening reads, stays whole; its rows do not.
            for path in (repo.path / ".dvc" / "cache").rglob("*"):
                if path.is_file() and one.digest.encode() in path.read_bytes():
                    path.chmod(0o644)
                    path.write_bytes(b"PAR1" + bytes(40) + path.read_bytes()[44:])
    entries = ask(repo, "log", "data/raw", "--key", "030")
    assert [(one["subject"], one["change"]) for one in entries] == [("second", "changed"), ("first", "added")]
    assert (entries[0]["before"], entries[0]["after"]) == ({"label": None}, {"label": "seen"})
    damaged = ask(repo, "log", "data/raw", "--key", "000")
    assert [one["change"] for one in damaged] == [None, None]
    assert all("part-00000.parquet" in one["note"] for one in damaged)


def test_row_history_follows_the_side_that_a_merge_took_the_row_from(line: Clone) -> None:
    base = line.git("rev-parse", "HEAD").strip()
    line.git("checkout", "-q", "-b", "side")
    edit(line, "key = 'b/00.bin'", "theirs", "side changes b/00")
    line.git("checkout", "-q", "main")
    line.dvc("checkout", "-q")
    edit(line, "key = 'a/03.bin'", "ours", "main changes a/03")
    line.git("merge", "-q", "--no-commit", "-s", "ours", "side")
    edit(line, "key = 'b/00.bin'", "theirs", "merge of both")
    assert ask(line, "log", "data/raw")[0]["subject"] == "merge of both"
    both = {
        key: [one["subject"] for one in ask(line, "log", "data/raw", "--key", key)] for key in ("b/00.bin", "a/03.bin")
    }
    assert both == {
        "b/00.bin": ["side changes b/00", "first photos"],
        "a/03.bin": ["main changes a/03", "first photos"],
    }
    assert ask(line, "show", f"data/raw@{base}")["rows"] == 12


def drop_manifests(clone: Clone) -> None:
    """Throw away what DVC's cache holds, and all that was remembered of it; the work tree's manifest stays."""
    clone.lose_cache()
    shutil.rmtree(clone.path / ".git" / "datapin" / "cache")


def test_entries_say_so_where_a_manifest_is_not_here(line: Clone) -> None:
    expected = ask(line, "log", "data/raw")
    drop_manifests(line)
    entries = ask(line, "log", "data/raw")
    assert [(one["rows"], one["added"], one["removed"], one["changed"]) for one in entries] == [
        (12, None, None, None)
    ] * 3
    assert [one["digest"] for one in entries] == [one["digest"] for one in expected]
    assert all("no default remote" in one["note"] for one in entries)
    unknown = ask(line, "log", "data/raw", "--key", "a/00.bin")
    assert [one["change"] for one in unknown] == [None] * 3
    assert all("cannot be fetched" in one["note"] for one in unknown)
    assert "note: " in said(line, "log", "data/raw")


def test_manifests_are_fetched_from_the_remote(line: Clone, tmp_path: Path) -> None:
    expected = ask(line, "log", "data/raw")
    line.dvc("remote", "add", "--default", "lab", str(tmp_path / "remote"))
    Worker(line.path).datapin("push", "--all-versions").done()
    drop_manifests(line)
    assert ask(line, "log", "data/raw") == expected
    drop_manifests(line)
    middle = re.findall(r"md5: (\w+)\.dir", line.git("show", "v2:data/raw.dvc"))[0]
    (tmp_path / "remote" / "files" / "md5" / middle[:2] / f"{middle[2:]}.dir").unlink()
    newest, second, first = ask(line, "log", "data/raw")
    assert newest["note"].startswith("the version before it: its manifest is neither here nor on")
    assert second["note"].startswith("its manifest is neither here nor on")
    assert first["note"] is None
    drop_manifests(line)
    for path in (tmp_path / "remote" / "files" / "md5").rglob("*.dir"):
        path.unlink()
    absent = ask(line, "log", "data/raw")
    assert [one["changed"] for one in absent] == [None] * 3
    assert all("neither here nor on" in one["note"] for one in absent)


def test_what_is_remembered_is_used_and_may_be_damaged(line: Clone) -> None:
    expected = ask(line, "log", "data/raw")
    (kept,) = (line.path / ".git" / "datapin" / "cache" / "log").iterdir()
    document = json.loads(kept.read_text().partition("\n")[2])  # its checksum stands before it
    line.lose_cache()
    assert ask(line, "log", "data/raw") == expected, "nothing but what is remembered is needed"
    line.dvc("commit", "-f", "data/raw.dvc")
    for damage in ("", "{", "[]", '{"facts": {}}', '{"facts": {"x": 1}, "changes": {"y": ["1"]}}'):
        kept.write_text(damage)
        assert len(ask(line, "log", "data/raw")) == 3
    assert document["changes"]


def test_a_stage_output_has_a_log_and_selectors(line: Clone) -> None:
    (line.path / "dvc.yaml").write_text(
        "stages:\n  make:\n    cmd: rm -rf data/made && cp -r data/raw data/made\n"
        "    deps: [data/raw]\n    outs: [data/made]\n"
    )
    line.dvc("repro", "-q")
    line.commit("made")
    edit(line, "key = 'a/02.bin'", "z", "raw only")
    line.dvc("repro", "-q")
    line.commit("made again")
    entries = ask(line, "log", "data/made")
    assert counts(entries) == [("made again", 12, 0, 0, 1), ("made", 12, 12, 0, 0)]
    digest = entries[1]["digest"].removeprefix("sha256:")
    for version in ("~1", digest[:10], "HEAD~2"):
        assert ask(line, "show", f"data/made@{version}")["digest"] == f"sha256:{digest}"


def test_a_dataset_that_is_not_committed_yet_has_no_versions(repo: Clone) -> None:
    write_images(repo.path / "img")
    Worker(repo.path).datapin("add", "img", "--to", "data/raw", "-q").done()
    assert ask(repo, "log", "data/raw") == []
    assert ask(repo, "log", "data/raw", "--key", "a/00.bin") == []
    assert "no version is committed yet" in said(repo, "log", "data/raw")
    assert "pins this dataset" in Worker(repo.path).datapin("show", "data/raw@~0").refused(10)


def test_a_shallow_clone_says_where_it_begins(line: Clone, tmp_path: Path) -> None:
    line.git("clone", "-q", "--depth", "1", f"file://{line.path}", str(tmp_path / "shallow"))
    shallow = Clone(tmp_path / "shallow")
    (entry,) = ask(shallow, "log", "data/raw")
    assert (entry["rows"], entry["added"]) == (12, None)
    assert "shallow clone begins here" in entry["note"]
    hint = shallow.datapin("show", "data/raw@~1", code=10).stderr
    assert "git fetch --unshallow" in hint


def test_a_pointer_nobody_can_read_is_told_and_passed_over(line: Clone) -> None:
    pointer = line.path / "data" / "raw.dvc"
    text = pointer.read_text()
    pointer.write_text(f"<<<<<<< ours\n{text}=======\n{text}>>>>>>> theirs\n")
    line.commit("broken")
    pointer.write_text(text)
    line.commit("mended")
    entries = ask(line, "log", "data/raw")
    assert [one["subject"] for one in entries][:3] == ["mended", "broken", "one in, one out"]
    assert entries[0]["note"] == "the version before it cannot be read"
    assert "conflict" in entries[1]["note"]
    assert [one["back"] for one in entries] == [0, None, None, 1, 2]
    changes = ask(line, "log", "data/raw", "--key", "a/00.bin")
    assert [one["change"] for one in changes] == [None, None, "changed", "added"]


def test_a_hint_is_a_command_that_a_shell_takes_also_where_the_name_has_a_space(line: Clone) -> None:
    (line.path / "some photos").mkdir()
    (line.path / "some photos" / "a.bin").write_bytes(b"a")
    said = line.datapin("add", "some photos", "--to", "my data/raw").stdout
    assert "git add 'my data/raw.dvc' && " in said
    assert "`datapin log 'my data/raw'`" in line.datapin("show", "my data/raw@nope", code=10).stderr
