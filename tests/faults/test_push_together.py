"""Several clones push to one remote at once, and others fetch meanwhile: nothing lost, nothing wrong."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from clones import BIN, ENVIRONMENT, Clone
from remotes import Place, Worker, bucket_place, check_shared, directory_place

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")

DATASET = "data/raw"
PUSHERS = 4
OWN, OVERLAP = 30, 60  # images that only one clone has, and images that each shares with the next


@dataclass(frozen=True)
class Team:
    """A clone whose dataset all have, and clones that each changed it on a branch of their own."""

    origin: Worker
    members: tuple[Worker, ...]

    def copy(self, folder: Path, place: Place) -> Team:
        copies = [worker.copy(folder / worker.path.name) for worker in (self.origin, *self.members)]
        for worker in copies:
            place.configure(worker.path)
        return Team(copies[0], tuple(copies[1:]))


@pytest.fixture(scope="module")
def team(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Team:
    folder = tmp_path_factory.mktemp("team")
    origin = Worker(blank).copy(folder / "origin")
    (origin.path / ".datapin" / "config.local.toml").write_text("[store]\npack_size = 16384\n")
    add_images(origin, range(50))
    Clone(origin.path).commit("v0")
    members = []
    for number in range(PUSHERS):
        member = origin.copy(folder / f"member{number}")
        first = 1000 + number * OWN
        add_images(member, range(first, first + OWN + OVERLAP))
        clone = Clone(member.path)
        clone.git("checkout", "-qb", f"branch{number}")
        clone.commit(f"v{number + 1}")
        members.append(member)
    return Team(origin, tuple(members))


@pytest.fixture(params=["directory", "moto", "radosgw"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        return directory_place(tmp_path / "remote")
    return bucket_place(request.getfixturevalue(f"{request.param}_server"))


def add_images(worker: Worker, numbers: Sequence[int]) -> None:
    """Images whose bytes follow from their number, so that clones have some in common."""
    folder = worker.path / "img"
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number:04}.bin").write_bytes(random.Random(number).randbytes(500 + number % 300))
    worker.datapin("add", "img", "--to", DATASET, "-q").done()


def together(*commands: tuple[Worker, Sequence[str]]) -> list[str]:
    """Run datapin in all these clones at once, each in a process of its own; what each said."""
    running = [
        subprocess.Popen(
            [str(BIN / "datapin"), *words],
            cwd=worker.path,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for worker, words in commands
    ]
    said = [process.communicate()[0] for process in running]
    codes = [process.returncode for process in running]
    assert codes == [0] * len(running), "\n".join(said)
    return said


def test_four_clones_push_overlapping_data_at_once_and_nothing_is_lost(
    team: Team, place: Place, tmp_path: Path
) -> None:
    team = team.copy(tmp_path / "team", place)
    together(*((member, ["push", "-q"]) for member in team.members))
    shared = check_shared(place.objects(), tmp_path / "shared")
    digests = [worker.datapin("show", DATASET, "--json").done().report["digest"] for worker in team.members]
    assert {digest for _, digest, _ in shared.final} == set(digests)
    assert shared.pending == 0
    reader = team.origin.copy(tmp_path / "reader")
    clone = Clone(reader.path)
    clone.lose_cache()
    clone.run("rm", "-rf", ".git/datapin/store", ".git/datapin/cache")
    for number, member in enumerate(team.members):
        clone.git("fetch", "-q", member.path, f"branch{number}:branch{number}")
    versions = [f"{DATASET}@branch{number}" for number in range(PUSHERS)]
    reader.datapin("fetch", "-q", *versions).done()
    for number, digest in enumerate(digests):
        clone.git("checkout", "-q", f"branch{number}")
        shutil.rmtree(reader.path / DATASET)
        reader.datapin("fetch", "-q").done()
        assert reader.datapin("show", DATASET, "--json").done().report["digest"] == digest
        assert reader.read_all(DATASET) == 50 + OWN + OVERLAP
    reader.check_store()


def test_a_second_push_at_the_same_moment_sends_nothing_twice_for_ever(
    team: Team, place: Place, tmp_path: Path
) -> None:
    team = team.copy(tmp_path / "team", place)
    twin = team.members[0].copy(tmp_path / "twin")
    together((team.members[0], ["push", "-q"]), (twin, ["push", "-q"]))
    before = place.objects()
    check_shared(before, tmp_path / "shared")
    for worker in (team.members[0], twin):
        assert worker.datapin("push", "--json").done().report["packs"] == 0
    assert place.objects() == before


def test_a_fetch_beside_pushes_brings_its_version_whole(team: Team, place: Place, tmp_path: Path) -> None:
    team = team.copy(tmp_path / "team", place)
    team.origin.datapin("push", "-q").done()
    readers = [team.origin.copy(tmp_path / f"reader{number}") for number in range(2)]
    for reader in readers:
        clone = Clone(reader.path)
        clone.lose_cache()
        clone.run("rm", "-rf", ".git/datapin/store", ".git/datapin/cache", DATASET)
    together(
        *((member, ["push", "-q"]) for member in team.members[:2]), *((reader, ["fetch", "-q"]) for reader in readers)
    )
    for reader in readers:
        assert reader.read_all(DATASET) == 50
        reader.check_store()
    check_shared(place.objects(), tmp_path / "shared")
