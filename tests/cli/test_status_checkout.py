from __future__ import annotations

import os
import shutil

from clones import BIN, Clone, write_images

NOTHING = {"added": 0, "changed": 0, "removed": 0}


def test_status_compares_tree_manifest_and_head(filled: Clone) -> None:
    one = filled.json("status")["datasets"][0]
    assert (one["dataset"], one["tree"], one["head"], one["missing_local"]) == ("data/raw", NOTHING, NOTHING, 0)
    filled.datapin("status", "--exit-code")
    (filled.path / "img" / "a" / "00.bin").write_bytes(b"edited")
    (filled.path / "img" / "a" / "new.bin").write_bytes(b"new")
    (filled.path / "img" / "b" / "00.bin").unlink()
    one = filled.json("status", "--exit-code", code=1)["datasets"][0]
    assert one["tree"] == {"added": 1, "changed": 1, "removed": 1}
    assert one["head"] == NOTHING
    # Asking twice changes nothing: what status remembers about the files is not taken for rows.
    assert filled.json("status")["datasets"][0]["tree"] == {"added": 1, "changed": 1, "removed": 1}
    filled.datapin("add", "img", "--to", "data/raw", "--label", "parent", "--mirror")
    one = filled.json("status")["datasets"][0]
    assert (one["tree"], one["head"]) == (NOTHING, {"added": 1, "changed": 1, "removed": 1})


def test_status_says_what_is_not_here(filled: Clone) -> None:
    shutil.rmtree(filled.path / ".git" / "datapin" / "store")
    assert filled.json("status")["datasets"][0]["missing_local"] == 12
    shutil.rmtree(filled.path / "data" / "raw")
    one = filled.json("status")["datasets"][0]
    assert one["digest"] is None
    assert "datapin fetch" in " ".join(one["notes"])


def test_status_knows_what_the_remote_held_when_it_was_last_spoken_to(filled: Clone) -> None:
    def remote() -> tuple[int | None, bool | None]:
        one = filled.json("status")["datasets"][0]
        return one["not_pushed"], one["pushed"]

    _, hint = filled.refusal("status", "-r", code=10)
    assert "dvc remote add" in hint
    assert remote() == (None, None)
    filled.dvc("remote", "add", "-q", "-d", "lab", filled.path.parent / "lab")
    assert remote() == (None, None), "nobody has asked yet"
    assert filled.json("status", "-r")["datasets"][0]["not_pushed"] == 12
    assert "not pushed: 12 assets" in filled.datapin("status").stdout
    filled.datapin("push")
    assert remote() == (0, True)
    assert "not pushed" not in filled.datapin("status", "--remote").stdout
    # Other rows of the same assets are not on the remote either.
    filled.datapin("update", "data/raw", "--set", "label = 'z'", "--where", "key = 'a/00.bin'")
    assert remote() == (0, False)
    assert "not pushed: these rows, as far as is known here" in filled.datapin("status").stdout
    assert "not pushed: these rows  (datapin push)" in filled.datapin("status", "-r").stdout
    filled.datapin("push")
    assert remote() == (0, True)


def test_status_asks_the_remote_what_others_did_to_it(filled: Clone) -> None:
    lab = filled.path.parent / "lab"
    filled.dvc("remote", "add", "-q", "-d", "lab", lab)
    filled.commit("a remote")
    other = Clone(filled.path.parent / "other")
    shutil.copytree(filled.path, other.path, symlinks=True)
    filled.json("status", "-r")
    other.datapin("push")
    assert filled.json("status")["datasets"][0]["not_pushed"] == 12, "we have not asked again"
    one = filled.json("status", "-r", "data/raw")["datasets"][0]
    assert (one["not_pushed"], one["pushed"]) == (0, True)
    for shard in (lab / "files").rglob("*"):
        if shard.is_file() and shard.suffix != ".dir":
            shard.chmod(0o644)
            shard.unlink()
    one = filled.json("status", "-r")["datasets"][0]
    assert (one["not_pushed"], one["pushed"]) == (0, False), "DVC's list of shards is not the shards"
    for pack in (lab / "datapin" / "packs").rglob("*.pack"):
        pack.unlink()
    one = filled.json("status", "-r")["datasets"][0]
    assert (one["not_pushed"], one["pushed"]) == (12, False), "an index entry without its pack is nothing"
    shutil.rmtree(lab)
    assert filled.json("status", "-r")["datasets"][0]["not_pushed"] == 12


def test_a_push_that_finds_everything_there_is_known_to_status(filled: Clone) -> None:
    filled.dvc("remote", "add", "-q", "-d", "lab", filled.path.parent / "lab")
    other = Clone(filled.path.parent / "other")
    shutil.copytree(filled.path, other.path, symlinks=True)
    filled.json("status", "-r")
    other.datapin("push")
    assert filled.json("push")["assets"] == 0
    one = filled.json("status")["datasets"][0]
    assert (one["not_pushed"], one["pushed"]) == (0, True)
    shutil.rmtree(other.path / ".git" / "datapin" / "store")
    shutil.rmtree(other.path / ".git" / "datapin" / "cache")
    other.lose_cache()
    shutil.rmtree(other.path / "data" / "raw")
    other.datapin("fetch")
    one = other.json("status")["datasets"][0]
    assert (one["not_pushed"], one["pushed"]) == (0, True), "what came from there is there"


def test_status_counts_assets_of_every_column_that_names_some(filled: Clone) -> None:
    write = (
        "import datapin, pyarrow as pa; table = datapin.open('data/raw').to_arrow(); "
        "mask = pa.field('mask', pa.string(), metadata={'datapin.asset': 'true'}); "
        "datapin.write('data/raw', table.append_column(mask, pa.array(['f' * 64] * len(table))))"
    )
    filled.run(BIN / "python", "-c", write)
    assert filled.json("status")["datasets"][0]["missing_local"] == 1


def test_status_of_an_empty_repository(repo: Clone) -> None:
    assert repo.json("status") == {"datasets": [], "unreadable": [], "notes": []}
    message, hint = repo.refusal("status", "data/raw", code=10)
    assert "data/raw" in message
    assert "datapin add" in hint


def test_checkout_writes_only_what_differs(filled: Clone) -> None:
    total = sum(len(content) for content in filled.files("img").values())
    assert filled.json("checkout", "data/raw", "--into", "out") == {
        "written": 12, "removed": 0, "unchanged": 0, "bytes": total, "linked": 0, "yours": 0, "left": 0
    }  # fmt: skip
    assert filled.files("out") == filled.files("img")
    assert filled.json("checkout", "data/raw", "--into", "out")["unchanged"] == 12
    part = filled.json("checkout", "data/raw", "--into", "out", "--where", "label = 'a'")
    assert (part["written"], part["removed"], part["unchanged"]) == (0, 6, 6)
    assert sorted(os.listdir(filled.path / "out")) == ["a"]


def test_checkout_refuses_unsaved_edits_by_name(filled: Clone) -> None:
    filled.datapin("checkout", "data/raw", "--into", "out")
    (filled.path / "out" / "a" / "00.bin").write_bytes(b"my own work")
    (filled.path / "out" / "mine.txt").write_bytes(b"mine")
    filled.datapin("remove", "data/raw", "--where", "key = 'a/01.bin'")
    before = filled.files("out")
    message, hint = filled.refusal("checkout", "data/raw", "--into", "out", code=40)
    assert "a/00.bin" in message
    assert "--force" in hint
    assert filled.files("out") == before
    filled.datapin("checkout", "data/raw", "--into", "out", "--force")
    after = filled.files("out")
    assert after["a/00.bin"] == b"a0" * 50
    assert after["mine.txt"] == b"mine"
    assert "a/01.bin" not in after


def test_checkout_never_writes_through_a_symlink(filled: Clone) -> None:
    outside = filled.path.parent / "outside"
    outside.mkdir()
    (filled.path / "out").mkdir()
    (filled.path / "out" / "a").symlink_to(outside)
    filled.datapin("checkout", "data/raw", "--into", "out", code=40)
    assert list(outside.iterdir()) == []


def test_checkout_by_class_is_remembered_for_the_folder(filled: Clone) -> None:
    filled.datapin("update", "data/raw", "--set", "label = 'z'", "--where", "key = 'a/00.bin'")
    filled.commit("v2")
    assert filled.json("checkout", "data/raw", "--into", "out", "--layout", "class")["written"] == 12
    assert sorted(filled.files("out")) == sorted({*filled.files("img"), "z/00.bin"} - {"a/00.bin"})
    report = filled.json("checkout", "data/raw@HEAD~1", "--into", "out")
    assert (report["written"], report["removed"], report["unchanged"]) == (1, 1, 11)
    assert filled.files("out") == filled.files("img")
    (filled.path / "out" / "a" / "01.bin").write_bytes(b"my own work")
    message, hint = filled.refusal("checkout", "data/raw", "--into", "out", "--layout", "key", code=40)
    assert "a/01.bin" in message
    assert "datapin add" not in hint, "its path is not its key"


def test_checkout_by_split_and_class_needs_both(filled: Clone) -> None:
    message, hint = filled.refusal("checkout", "data/raw", "--into", "out", "--layout", "split-class", code=40)
    assert "12 row(s) without a split, first 'a/00.bin'" in message
    assert "datapin update" in hint
    assert not (filled.path / "out").exists()
    filled.datapin("update", "data/raw", "--set", "split = CASE WHEN key LIKE '%/00.bin' THEN 'val' ELSE 'train' END")
    filled.datapin("checkout", "data/raw", "--into", "out", "--layout", "split-class")
    expected = {
        f"{'val' if key.endswith('/00.bin') else 'train'}/{key}": data for key, data in filled.files("img").items()
    }
    assert filled.files("out") == dict(sorted(expected.items()))
    filled.datapin("update", "data/raw", "--set", "label = '../up'", "--where", "key = 'b/03.bin'")
    message, _ = filled.refusal("checkout", "data/raw", "--into", "out", code=40)
    assert "'../up'" in message
    assert filled.files("out") == dict(sorted(expected.items()))


def test_a_rollback_keeps_the_layout_and_the_links_of_a_checked_out_tree(repo: Clone) -> None:
    config = repo.path / ".datapin" / "config.toml"
    config.write_text(config.read_text().replace("[store]\n", "[store]\nlarge_asset = 4096\n"))
    write_images(repo.path / "img")
    (repo.path / "img" / "a" / "big.bin").write_bytes(bytes(5000))
    repo.datapin("add", "img", "--to", "data/raw", "--label", "parent")
    repo.commit("v1")
    report = repo.json("checkout", "data/raw", "--into", "out", "--layout", "class", "--link")
    assert (report["written"], report["linked"]) == (13, 1)
    assert "; 1 linked)" in repo.datapin("checkout", "data/raw", "--into", "two", "--link").stdout
    repo.datapin("update", "data/raw", "--set", "label = 'z'", "--where", "key IN ('a/00.bin', 'a/big.bin')")
    repo.commit("v2")
    repo.datapin("checkout", "data/raw", "--into", "out")
    assert {"z/00.bin", "z/big.bin"} <= set(repo.files("out"))
    repo.datapin("rollback", "data/raw", "--to", "~1")
    assert repo.files("out") == repo.files("img")
    assert (repo.path / "out" / "a" / "big.bin").stat().st_mode & 0o222 == 0
    # A linked file is a file like others for `add`.
    again = repo.json("add", "two", "--to", "data/raw", "--label", "parent")
    assert (again["added"], again["changed"], again["unchanged"], again["new_assets"]) == (0, 0, 13, 0)


def test_an_edit_through_a_link_is_damage_that_is_named_and_healed(repo: Clone) -> None:
    write_images(repo.path / "img", per_class=1)
    (repo.path / "img" / "a" / "big.bin").write_bytes(bytes(5 << 20))
    repo.datapin("add", "img", "--to", "data/raw")
    assert repo.json("checkout", "data/raw", "--into", "out", "--link")["linked"] == 1
    victim = repo.path / "out" / "a" / "big.bin"
    victim.chmod(0o644)
    with victim.open("r+b") as file:
        file.write(b"EDIT")
    message, _ = repo.refusal("checkout", "data/raw", "--into", "out", code=40)
    assert "a/big.bin" in message
    message, _ = repo.refusal("checkout", "data/raw", "--into", "fresh", code=21)
    assert "is damaged" in message
    assert "a/big.bin" not in repo.files("fresh")
    (repo.path / "img" / "a" / "big.bin").touch()
    repo.datapin("add", "img", "--to", "data/raw")
    repo.datapin("checkout", "data/raw", "--into", "fresh")
    assert repo.files("fresh") == repo.files("img")
    assert victim.read_bytes()[:5] == b"EDIT\0"
