"""A hint is a command that, run as printed, ends the complaint: each is produced, run, and looked at again.

`make hints` does the same with the hints of every planted fault of `datapin verify` (checks/healing.py).
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from clones import ENVIRONMENT, Clone, write_images
from datapin.base import errors
from datapin.repo import Repo
from hints import follow, run_line


@dataclass(frozen=True)
class Place:
    """A copy of the prepared repository and of its remote, in a folder of their own."""

    top: Path

    @property
    def repo(self) -> Path:
        return self.top / "repo"

    @property
    def lab(self) -> Path:
        return self.top / "lab"

    @property
    def store(self) -> Path:
        return Repo.find(self.repo)._workspace.store_directory

    def files(self, top: Path, pattern: str) -> list[Path]:
        found = sorted(path for path in top.rglob(pattern) if path.is_file())
        assert found, f"nothing to harm: {pattern} in {top}"
        return found

    def packs(self) -> list[Path]:
        return self.files(self.store / "packs", "*.pack")

    def lose_objects(self) -> None:
        """DVC's cache and our copies of it."""
        for folder in (self.repo / ".dvc" / "cache" / "files", self.store.parent / "objects"):
            shutil.rmtree(folder, ignore_errors=True)

    def without_remote(self) -> None:
        run(self, "dvc remote remove lab")

    def ask(self, words: str) -> list[str]:
        """What a command complains of: its error, or its findings, each with its hint after a tab."""
        _, text = run(self, f"datapin {words} --json")
        said = json.loads(text)
        if isinstance(said, list):
            return []
        if "error" in said:
            return [f"{said['error']['kind']}: {said['error']['message']}\t{said['error']['hint']}"]
        found = said.get("findings", [])
        if "datasets" in said and "findings" not in said:
            return [complaint for one in said["datasets"] for complaint in of_status(one)]
        return [f"{one['check']} {one['where']} {one['severity']}: {one['message']}\t{one['hint']}" for one in found]


def of_status(one: dict[str, Any]) -> Iterator[str]:
    if one["problem"] is not None:
        yield f"{one['problem']['kind']}: {one['problem']['message']}\t{one['problem']['hint']}"
    if one["missing_local"]:
        yield f"not here: {one['missing_local']}\t`datapin fetch`"
    if one["not_pushed"] or one["pushed"] is False:
        yield f"not pushed: {one['dataset']}\t`datapin push`"


def run(place: Place, line: str) -> tuple[int, str]:
    return run_line(line, place.repo)


PIPELINE = """\
stages:
  prepare:
    cmd: datapin run prepare
    deps: [data/raw]
    params: [prepare]
    outs: [data/prepared]
"""
PARAMS = """\
prepare:
  input: data/raw
  split: {train: 0.5, test: 0.5}
  on_unlabelled: drop
"""


@pytest.fixture(scope="module")
def prepared(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/raw, added from img, committed and pushed to a remote in the folder beside."""
    top = tmp_path_factory.mktemp("prepared")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    write_images(clone.path / "img", per_class=2)
    (clone.path / "img" / "big.bin").write_bytes(os.urandom(4 << 20))
    (clone.path / "model.bin").write_bytes(b"weights" * 100)
    (clone.path / "dvc.yaml").write_text(PIPELINE)
    (clone.path / "params.yaml").write_text(PARAMS)
    place = Place(top)
    run(place, "datapin add img --to data/raw --label parent")
    run(place, "dvc add -q model.bin")
    clone.dvc("repro", "-q")
    run(place, "dvc remote add -q -d lab ../lab")
    run(place, "dvc push -q model.bin.dvc")
    clone.commit("v1")
    assert run(place, "datapin push")[0] == 0
    return top


@pytest.fixture
def place(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    shutil.copytree(prepared, tmp_path / "top", symlinks=True)
    return Place(tmp_path / "top")


def flip(*paths: Path, at: int = 10) -> None:
    for path in paths:
        data = bytearray(path.read_bytes())
        data[at] ^= 0xFF
        path.chmod(0o644)
        path.write_bytes(data)


def cut(*paths: Path) -> None:
    for path in paths:
        path.chmod(0o644)
        os.truncate(path, path.stat().st_size // 2)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def drop_row(shard: Path) -> None:
    """An edit of a manifest behind datapin's back."""
    table = pq.read_table(shard)
    shard.unlink()  # it may be a link into DVC's cache
    pq.write_table(table.slice(1), shard)


def lose(*paths: Path) -> None:
    for path in paths:
        path.unlink()


Harm = Callable[[Place], object]


@dataclass(frozen=True)
class Case:
    """How the complaint comes about, the command that utters it, and a part of it."""

    harm: Harm
    ask: str
    complaint: str


def both(*harms: Harm) -> Harm:
    return lambda place: [harm(place) for harm in harms]


SHARD = "data/raw/part-00000.parquet"
OUT = "checkout data/raw --into ../out"
NO_REMOTE: Harm = Place.without_remote
LOSE_PACKS: Harm = lambda p: lose(*p.packs())  # noqa: E731
FLIP_PACKS: Harm = lambda p: flip(*p.packs())  # noqa: E731
LOSE_THERE: Harm = lambda p: lose(*p.files(p.lab / "datapin" / "packs", "*.pack"))  # noqa: E731

CASES: dict[str, Case] = {
    "a damaged pack": Case(FLIP_PACKS, "verify --check deep.assets", "deep.assets"),
    "a damaged pack, no remote": Case(both(NO_REMOTE, FLIP_PACKS), OUT, "damaged-asset"),
    "a damaged pack, read": Case(FLIP_PACKS, OUT, "damaged-asset"),
    "a damaged pack, no remote, verify": Case(both(NO_REMOTE, FLIP_PACKS), "verify --deep", "deep.assets"),
    "a pack that is cut off": Case(lambda p: cut(*p.packs()), "doctor", "store packs/"),
    "a lost pack": Case(LOSE_PACKS, "doctor", "store packs/"),
    "a lost pack, status": Case(LOSE_PACKS, "status", "not here"),
    "a lost pack, no remote": Case(both(NO_REMOTE, LOSE_PACKS), OUT, "assets-missing"),
    "a lost pack, no remote, doctor": Case(both(NO_REMOTE, LOSE_PACKS), "doctor", "store packs/"),
    "a lost pack, here and there": Case(both(LOSE_THERE, LOSE_PACKS), OUT, "assets-missing"),
    "a lost large asset": Case(lambda p: lose(*p.files(p.store / "assets", "*")), "doctor", "store assets/"),
    "a damaged large asset": Case(lambda p: flip(*p.files(p.store / "assets", "*")), "verify --deep", "deep.assets"),
    "a damaged index": Case(lambda p: flip(*p.files(p.store / "index", "*"), at=100), OUT, "damaged-pack"),
    "a lost index": Case(lambda p: lose(*p.files(p.store / "index", "*")), "doctor", "store packs/"),
    "a damaged shard": Case(lambda p: cut(p.repo / "data/raw/part-00000.parquet"), "ls data/raw", "damaged-manifest"),
    "a damaged shard, status": Case(
        lambda p: cut(p.repo / "data/raw/part-00000.parquet"), "status", "damaged-manifest"
    ),
    "a manifest that is not here": Case(
        both(lambda p: shutil.rmtree(p.repo / "data/raw"), Place.lose_objects), "status", "manifest-missing"
    ),
    "a manifest that the remote lost": Case(
        lambda p: shutil.rmtree(p.lab / "files"), "verify --check presence.manifests --remote", "presence.manifests"
    ),
    "a pack that the remote lost": Case(LOSE_THERE, "verify --check presence.packs --remote", "presence.packs"),
    "a large asset that the remote lost": Case(
        lambda p: lose(*p.files(p.lab / "datapin" / "assets", "*")),
        "verify --check presence.loose --remote",
        "presence.loose",
    ),
    "an index that the remote lost": Case(
        lambda p: lose(*p.files(p.lab / "datapin" / "index", "*")),
        "verify --check presence.index --remote",
        "presence.index",
    ),
    "a root record that the remote lost": Case(
        lambda p: lose(*p.files(p.lab / "datapin" / "roots", "*")),
        "verify --check presence.roots --remote",
        "presence.roots",
    ),
    "a remote that holds nothing": Case(lambda p: shutil.rmtree(p.lab), "doctor", "remote lab note"),
    "rows that were never pushed": Case(
        lambda p: run(p, "datapin update data/raw --set \"label = 'z'\""), "status", "not pushed"
    ),
    "an unknown hook": Case(lambda p: run(p, "datapin init --no-hooks"), "doctor", "hooks"),
    "rows edited behind our back": Case(
        lambda p: drop_row(p.repo / SHARD), "verify --check pins.manifest-changed", "pins.manifest-changed"
    ),
    "rows edited behind our back, doctor": Case(lambda p: drop_row(p.repo / SHARD), "doctor", "dataset data/raw"),
    "a stage's rows edited behind our back": Case(
        lambda p: drop_row(p.repo / "data/prepared/part-00000.parquet"),
        "verify --check pins.manifest-changed",
        "pins.manifest-changed",
    ),
    "a damaged shard, verify": Case(lambda p: cut(p.repo / SHARD), "verify --check pins.readable", "pins.readable"),
    "a summary that is not true": Case(
        lambda p: edit(p.repo / "data/raw.dvc", "rows: 5", "rows: 6"), "verify --check pins.summary", "pins.summary"
    ),
    "a manifest that no pointer pins": Case(
        both(lambda p: shutil.copytree(p.repo / "data/raw", p.repo / "data/loose")),
        "verify --check pins.pinned-once",
        "pins.pinned-once",
    ),
    "a model edited": Case(
        lambda p: (p.repo / "model.bin").write_bytes(b"other"), "verify --check pins.output-changed", "pins.output"
    ),
    "a model that the remote lost": Case(
        lambda p: shutil.rmtree(p.lab / "files"), "verify --check presence.outputs --remote", "presence.outputs"
    ),
    "data that no stage ran on": Case(
        lambda p: run(p, "datapin update data/raw --set \"label = 'z'\""),
        "verify --check pins.stale-data",
        "pins.stale-data",
    ),
    "a stage that never ran": Case(
        lambda p: lose(p.repo / "dvc.lock"), "verify --check pins.stale-pipeline", "pins.stale-pipeline"
    ),
    "a stage that lost a parameter": Case(
        lambda p: edit(p.repo / "dvc.yaml", "    params: [prepare]\n", ""),
        "verify --check pins.stale-pipeline",
        "pins.stale-pipeline",
    ),
    "a frozen stage": Case(
        lambda p: run(p, "dvc freeze prepare"), "verify --check pins.stale-pipeline", "pins.stale-pipeline"
    ),
    "no datapin": Case(lambda p: shutil.rmtree(p.repo / ".datapin"), "status", "no-repository"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hint_run_as_printed_ends_the_complaint(place: Place, name: str) -> None:
    case = CASES[name]
    case.harm(place)

    def left() -> list[str]:
        return [one for one in place.ask(case.ask) if case.complaint in one]

    complaints = left()
    assert complaints, place.ask(case.ask)
    shutil.rmtree(place.top / "out", ignore_errors=True)
    remaining, tried = follow(dict.fromkeys(one.partition("\t")[2] for one in complaints), place.repo, left)
    assert not remaining, tried


# What no command can end, and why. Every other class of errors has a case above or in the tests named here.
NOT_BY_COMMAND = {
    "EngineUnreachable": "a cluster of the user's",
    "AmbiguousVersion": "only the user knows which version is meant: the candidates are in the message",
    "BadAssetId": "says what an id is",
    "BadDocument": "a document of the user's is to be corrected",
    "BadKeys": "files of the user's are to be renamed",
    "BadQuery": "the user's SQL is to be corrected",
    "BadRows": "the user's table is to be corrected",
    "BadSettings": "a file of the user's is to be corrected; where a command does it, it is in the error's advice",
    "DamagedJournal": "`datapin recover` sets it aside: tests/cli/test_state.py",
    "DamagedModel": "`dvc repro` makes it again, which is the user's pipeline: tests/cli/test_train_under_dvc.py",
    "DatasetNotThere": "only the user knows which version is meant",
    "Locked": "another process has to end",
    "ModelRefused": "a model of a stranger's stays refused",
    "ObjectMissing": "somebody else has to push",
    "OperatorRefused": "a parameter is to be changed",
    "OutputLost": "the terminal or disk of the caller is gone",
    "OutputMissing": "an output of the user's pipeline: `dvc pull` or `dvc repro`, tests/cli/test_rollback.py",
    "PushOvertaken": "another command has to end",
    "Refused": "each says what is to be done, in its own advice",
    "RemoteUnreachable": "a server has to answer",
    "SomeLost": "holds the hints of its parts: test_push_and_fetch_do_the_rest",
    "SourcesRefused": "files of the user's are to be put right",
    "StageRefused": "each says what is to be done, in its own advice",
    "StorageFailed": "space or permissions, which are not ours",
    "StoreFormat": "another version of datapin is to be installed",
    "ToolFailed": "says which tool to look at",
    "UnknownAsset": "only the user knows what is meant",
    "UnknownDataset": "only the user knows what is meant: tests/cli/test_hints.py",
    "UnknownKey": "only the user knows what is meant; the command lists the keys",
    "UnknownOutput": "only the user knows what is meant",
    "UnknownVersion": "only the user knows what is meant; the command lists the versions",
    "UnsavedEdits": "only the user knows whether to save or to give up",
    "UnsavedRows": "only the user knows whether to save or to give up",
    "Usage": "the command line is to be corrected",
    "WorkersLost": "the machine's memory",
}


def test_no_class_of_errors_is_forgotten() -> None:
    leaves = {
        name
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.DatapinError) and "__dataclass_fields__" in vars(one)
    }
    kinds = {re.split(r"[ :]", case.complaint)[0] for case in CASES.values()}
    tested = {name for name in leaves if re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower() in kinds}
    assert not tested & NOT_BY_COMMAND.keys()
    assert tested | NOT_BY_COMMAND.keys() == leaves


def test_push_and_fetch_do_the_rest(place: Place) -> None:
    clone = Clone(place.repo)
    lists = []
    for name in ("two", "three"):
        (place.repo / "img" / f"{name}.bin").write_bytes(name.encode() * 50)
        run(place, "datapin add img --to data/raw --label parent")
        clone.commit(name)
        lists.append(re.findall(r"\b[0-9a-f]{32}\.dir", (place.repo / "data/raw.dvc").read_text())[0])
    for folder in (place.repo / ".dvc" / "cache", place.store.parent):
        for path in folder.rglob(lists[0][2:]):
            path.unlink()
    code, text = run(place, "datapin push --all-versions --json")
    error = json.loads(text)["error"]
    assert (code, error["kind"]) == (20, "manifest-missing")
    assert lists[0] in error["message"]
    there = {path.name for path in place.lab.rglob("*.dir")}
    assert lists[1][2:] in there
    shutil.rmtree(place.store)
    code, text = run(place, "datapin fetch --all-versions --json")
    assert (code, json.loads(text)["error"]["kind"]) == (20, "manifest-missing")
    assert run(place, "datapin checkout data/raw --into ../out")[0] == 0
    assert (place.top / "out" / "three.bin").is_file()
