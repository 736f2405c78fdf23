"""Two people for some days: two clones, a Git server, a directory for data, hooks on; at each step digests agree."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from clones import ENVIRONMENT, Clone, write_images
from teams import Member


@dataclass
class Person(Member):
    """A member whose commits carry a name."""

    name: str = ""

    @property
    def environment(self) -> Mapping[str, str]:
        return {**ENVIRONMENT, "GIT_AUTHOR_NAME": self.name, "GIT_AUTHOR_EMAIL": f"{self.name}@example.com".lower()}

    def labels(self, selector: str = "data/raw") -> dict[str, str]:
        return {key: str(row["label"]) for key, row in self.rows(selector).items()}

    def send(self, message: str) -> str:
        """Commit and push; the hook sends the data first. The digest that was sent."""
        self.commit(message)
        self.git("push", "-q", "origin", "HEAD")
        return self.digest()

    def receive(self) -> str:
        """Pull; the hooks bring the manifest. The digest that came."""
        self.git("pull", "-q", "--no-rebase", "--no-edit")
        return self.digest()


def people(top: Path) -> tuple[Person, Person]:
    return Person(top / "ada", "Ada"), Person(top / "grace", "Grace")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ada has begun the project and pushed v1, 12 rows; Grace has cloned it and fetched the data."""
    top = tmp_path_factory.mktemp("begun")
    ada, grace = people(top)
    (top / "lab").mkdir()
    Clone(top).git("init", "-q", "--bare", "-b", "main", "hub.git")
    ada.path.mkdir()
    ada.git("init", "-q", "-b", "main")
    ada.dvc("init", "-q")
    ada.datapin("init", "--hooks", "-q")
    ada.dvc("remote", "add", "-q", "-d", "lab", top / "lab")
    ada.git("remote", "add", "origin", "../hub.git")
    write_images(ada.path / "img")
    (ada.path / ".gitignore").write_text("/img\n/more\n/photos\n")
    ada.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    ada.commit("first photographs")
    ada.git("tag", "v1")
    ada.git("push", "-q", "-u", "origin", "main", "v1")
    ada.git("clone", "-q", top / "hub.git", grace.path)
    grace.git("remote", "set-url", "origin", "../hub.git")
    grace.datapin("init", "--hooks", "-q")
    grace.datapin("fetch", "-q")
    return top


@pytest.fixture
def team(begun: Path, tmp_path: Path) -> tuple[Person, Person]:
    shutil.copytree(begun, tmp_path / "top", symlinks=True)
    for person in people(tmp_path / "top"):
        person.dvc("remote", "modify", "-q", "--local", "lab", "url", tmp_path / "top" / "lab")
    return people(tmp_path / "top")


def test_what_one_sends_the_other_has_to_the_last_byte(team: tuple[Person, Person]) -> None:
    ada, grace = team
    assert grace.digest() == ada.digest() == grace.digest("data/raw@v1")
    grace.datapin("checkout", "data/raw", "--into", "photos", "-q")
    assert grace.files("photos") == ada.files("img")
    # Ada corrects a label and adds two photographs; meanwhile Grace drops one and makes a validation split.
    ada.label("b", "key = 'a/00.bin'")
    ada.add("more")
    sent = ada.send("a/00 is a b, two c")
    grace.datapin("remove", "data/raw", "--where", "key = 'b/05.bin'", "-q")
    grace.datapin("update", "data/raw", "--set", "split = 'val'", "--where", "key LIKE '%/01.bin'", "-q")
    grace.commit("a validation split")
    assert "rejected" in grace.run("git", "push", "origin", "main", code=1).stderr
    assert ada.digest("data/raw@origin/main") == sent
    # The driver merges rows, the hook lays them out; Ada then has the same without merging.
    merged = grace.receive()
    expected = {f"{label}/{n:02d}.bin": label for label in "ab" for n in range(6)} | {"a/00.bin": "b"}
    expected |= {"c/00.bin": "c", "c/01.bin": "c"}
    del expected["b/05.bin"]
    assert grace.labels() == dict(sorted(expected.items()))
    assert {key for key, row in grace.rows().items() if row["split"] == "val"} == {"a/01.bin", "b/01.bin"}
    grace.git("push", "-q", "origin", "main")
    assert ada.receive() == merged
    assert ada.rows() == grace.rows()
    assert ada.is_clean()
    assert grace.is_clean()
    # Both read the same history, and the same difference.
    for person in (ada, grace):
        entries = person.json("log", "data/raw")
        assert entries[0]["digest"] == merged
        assert {entry["author"] for entry in entries} == {"Ada", "Grace"}
        found = person.json("diff", "data/raw", "v1", "--limit", "0")
        assert (found["added"], found["removed"], found["columns"]["label"]) == (2, 1, 1)
        (change, added) = person.json("log", "data/raw", "--key", "a/00.bin")
        assert (change["author"], change["after"]["label"], added["change"]) == ("Ada", "b", "added")
    # Grace's folder of files follows when she says so; the photographs that Ada added are fetched for it.
    report = grace.json("checkout", "data/raw", "--into", "photos")
    assert (report["written"], report["removed"], report["unchanged"]) == (2, 1, 11)
    assert grace.files("photos")["c/00.bin"] == ada.files("more")["c/00.bin"]
    # Ada takes it all back. Grace's manifest goes with the commit, her files when she checks them out again.
    ada.datapin("rollback", "data/raw", "--to", "v1", "-q")
    back = ada.send("back to the first photographs")
    assert grace.receive() == back == grace.digest("data/raw@v1")
    grace.datapin("checkout", "data/raw", "--into", "photos", "-q")
    assert grace.files("photos") == ada.files("img")
    # And a rollback is rolled back.
    grace.datapin("rollback", "data/raw", "--to", "~1", "-q")
    assert grace.send("forward again") == merged
    assert ada.receive() == merged
    assert ada.json("status")["datasets"][0]["missing_local"] == 0


def test_what_both_changed_differently_is_decided_once_and_for_both(team: tuple[Person, Person]) -> None:
    ada, grace = team
    ada.label("x", "key IN ('a/00.bin', 'a/01.bin')")
    ada.send("x")
    grace.label("y", "key IN ('a/00.bin', 'b/00.bin')")
    grace.commit("y")
    ended = grace.run("git", "pull", "-q", "--no-rebase", "--no-edit", code=1)
    assert "data/raw" in ended.stdout + ended.stderr
    (conflict,) = grace.json("resolve", "data/raw")["conflicts"]
    assert (conflict["key"], conflict["column"]) == ("a/00.bin", "label")
    assert (conflict["base"], conflict["ours"], conflict["theirs"]) == ("a", "y", "x")
    assert "rejected" in grace.run("git", "push", "origin", "main", code=1).stderr
    grace.datapin("resolve", "data/raw", "--theirs", "-q")
    grace.git("add", "data/raw.dvc")
    grace.git("commit", "-q", "--no-edit")
    grace.git("push", "-q", "origin", "main")
    labels = grace.labels()
    assert {key: labels[key] for key in ("a/00.bin", "a/01.bin", "b/00.bin")} == {
        "a/00.bin": "x", "a/01.bin": "x", "b/00.bin": "y",
    }  # fmt: skip
    assert ada.receive() == grace.digest()
    assert ada.rows() == grace.rows()
    assert grace.is_clean()


def test_a_commit_whose_data_cannot_be_sent_is_not_sent_either(team: tuple[Person, Person]) -> None:
    ada, grace = team
    before = grace.git("ls-remote", "origin", "main")
    ada.add("more")
    ada.commit("two c")
    lab = ada.path.parent / "lab"
    lab.rename(lab.parent / "away")
    lab.write_text("not a folder\n")
    ended = ada.run("git", "push", "origin", "main", code=1)
    assert "datapin" in ended.stderr
    assert grace.git("ls-remote", "origin", "main") == before
    lab.unlink()
    (lab.parent / "away").rename(lab)
    ada.git("push", "-q", "origin", "main")
    assert grace.receive() == ada.digest()
