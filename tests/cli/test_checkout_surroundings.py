"""A checkout among the user's own files: Git takes none of ours and all of theirs, and nothing of theirs is lost."""

from __future__ import annotations

from pathlib import Path

from clones import Clone


def excluded(clone: Clone) -> list[str]:
    text = (clone.path / ".git" / "info" / "exclude").read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def to_be_added(clone: Clone) -> list[str]:
    said = clone.git("status", "--porcelain", "-uall", "--", ":(exclude).gitignore")
    return sorted(line[3:] for line in said.splitlines())


def test_git_takes_nothing_that_a_checkout_wrote_and_all_that_is_the_users(filled: Clone) -> None:
    clone = filled
    ended = clone.datapin("checkout", "data/raw", "--into", "o ut[1] ")
    assert "Git leaves it out (by .git/info/exclude)" in ended.stderr
    assert excluded(clone) == ["/o ut\\[1] /"]
    assert to_be_added(clone) == []
    mixed = clone.path / "mixed"
    (mixed / "b").mkdir(parents=True)
    (mixed / "b" / "notes.txt").write_text("mine")
    (mixed / "empty").mkdir()
    (mixed / "top.txt").write_text("mine")
    clone.datapin("checkout", "data/raw", "--into", "mixed")
    assert to_be_added(clone) == ["mixed/b/notes.txt", "mixed/top.txt"]
    assert "/mixed/a/" in excluded(clone)
    clone.datapin("checkout", "data/raw", "--into", "img", "--adopt")
    assert not [line for line in excluded(clone) if "img" in line], "the user's .gitignore has it"
    before = excluded(clone)
    clone.datapin("checkout", "data/raw", "--into", "mixed")
    assert excluded(clone) == before
    for path in sorted(mixed.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    mixed.rmdir()
    clone.datapin("checkout", "data/raw", "--into", "third/deep")
    assert "/third/deep/" in excluded(clone)
    assert not [line for line in excluded(clone) if "mixed" in line], "a later folder of that name is the user's"


def test_a_rollback_keeps_the_users_originals_and_moves_what_was_chosen(filled: Clone, tmp_path: Path) -> None:
    clone = filled
    clone.git("tag", "v1")
    (clone.path / "img" / "a" / "new.bin").write_bytes(b"mine")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent")
    clone.commit("v2")
    said = clone.json("checkout", "data/raw", "--into", "img")
    assert (said["written"], said["unchanged"], said["yours"]) == (0, 13, 13)
    clone.datapin("checkout", "data/raw", "--into", tmp_path / "chosen", "--follow")
    clone.datapin("checkout", "data/raw", "--into", tmp_path / "unasked")
    report = clone.json("rollback", "data/raw", "--to", "v1")
    assert sorted(report["trees"]) == sorted([str(clone.path / "img"), str(tmp_path / "chosen")])
    assert (clone.path / "img" / "a" / "new.bin").read_bytes() == b"mine"
    assert not (tmp_path / "chosen" / "a" / "new.bin").exists()
    assert (tmp_path / "unasked" / "a" / "new.bin").exists()
    # One that would change a file of the user's is refused, and the cure that it names hands equal files over.
    (clone.path / "img" / "a" / "00.bin").write_bytes(b"other")
    message, _ = clone.refusal("rollback", "data/raw", "--to", "HEAD", code=40)
    assert "not written by datapin: a/00.bin" in message
    (clone.path / "img" / "a" / "00.bin").write_bytes(b"a0" * 50)
    clone.run(*message.partition("(`")[2].partition("`")[0].split())
    (clone.path / "img" / "a" / "00.bin").unlink()
    clone.datapin("rollback", "data/raw", "--to", "HEAD")
    assert (clone.path / "img" / "a" / "00.bin").read_bytes() == b"a0" * 50


def test_a_folder_behind_a_link_is_not_written(filled: Clone, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (filled.path / "link").symlink_to(tmp_path / "elsewhere")
    for into in ("link", "link/below"):
        message, hint = filled.refusal("checkout", "data/raw", "--into", into, code=40)
        assert "link is a link" in message
        assert hint.endswith(str(tmp_path / "elsewhere" / into.removeprefix("link").lstrip("/")))
    assert not list((tmp_path / "elsewhere").iterdir())
    words = hint.removeprefix("name the folder itself: ").split()
    filled.datapin("checkout", "data/raw", *words[:-1], Path(words[-1]).parent)
    assert len(list((tmp_path / "elsewhere").rglob("*.bin"))) == 12
    filled.datapin("checkout", "data/raw", "--into", "..", code=2)


def test_init_ignores_the_originals_it_is_told_of(repo: Clone) -> None:
    (repo.path / "photos" / "[a]").mkdir(parents=True)
    (repo.path / "photos" / "[a]" / "1.bin").write_bytes(b"1")
    (repo.path / "kept").mkdir()
    (repo.path / "kept" / "1.bin").write_bytes(b"1")
    repo.git("add", "kept")
    said = repo.json("init", "--originals", "photos", "--originals", "kept", "--originals", "/elsewhere")
    assert (repo.path / ".gitignore").read_text().splitlines()[-2:] == ["/photos", "/kept"]
    assert said["notes"] == ["kept: Git tracks files of it; `git rm -r --cached kept` leaves them to datapin"]
    assert "photos" not in repo.git("status", "--porcelain", "-uall")
    assert repo.json("init", "--originals", "photos")["changed"] == []
