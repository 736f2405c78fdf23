"""A clone that has only the commit: reads, checkouts and stages bring what they touch, and nothing else."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import datapin
from clones import ENVIRONMENT, Clone
from datapin.base.errors import AssetsMissing, ManifestMissing, Refused, Usage
from datapin.dataset import Batch, Dataset, Sample
from remotes import Place, bucket_place, directory_place
from servers.s3_server import S3Server
from workspaces import picture

ROOT = Path(__file__).parents[2]
DATASET = "data/raw"
IMAGES, CLASSES = 40, 4
PARAMS = """\
prepare: {split: {train: 0.6, val: 0.2, test: 0.2}}
augment: {copies: 1, operators: {rotate: {degrees: 10}}}
"""


@pytest.fixture(scope="module")
def source(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with data that its directory remote holds too."""
    folder = tmp_path_factory.mktemp("lazy")
    clone = Clone(folder / "source")
    shutil.copytree(blank, clone.path, symlinks=True)
    for number in range(IMAGES):
        image = clone.path / "img" / str(number % CLASSES) / f"{number:03}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(picture(number))
    (clone.path / ".gitignore").write_text("/img\n")
    (clone.path / "params.yaml").write_text(PARAMS)
    clone.datapin("add", "img", "--to", DATASET, "--label", "parent", "-q")
    share(clone, directory_place(folder / "remote"))
    return clone


def share(clone: Clone, place: Place) -> None:
    place.configure(clone.path)
    clone.commit("data")
    clone.datapin("push", "-q")


@pytest.fixture
def clone(source: Clone, tmp_path: Path) -> Clone:
    """A fresh one: no manifest, no assets."""
    source.git("clone", "-q", source.path, tmp_path / "clone")
    return Clone(tmp_path / "clone")


@pytest.fixture
def offline(clone: Clone, closed_port: int) -> Clone:
    """A clone with the rows, whose remote does not answer."""
    clone.datapin("show", DATASET)
    endpoint = f"http://127.0.0.1:{closed_port}"
    settings = {"url": "s3://nowhere/team", "endpointurl": endpoint, "region": "us-east-1"}
    keys = {"access_key_id": "key", "secret_access_key": "secret"}
    Place("nobody", settings, keys, dict).configure(clone.path)
    return clone


def images(source: Clone) -> dict[str, bytes]:
    return source.files("img")


def read_in_batches(dataset: Dataset, size: int) -> dict[str, bytes]:
    read: dict[str, bytes] = {}
    for batch in dataset.batches(size, shuffle=4):
        read |= zip((sample.key for sample in batch), batch.read(), strict=True)
    return read


def packed_bytes(clone: Clone) -> int:
    return sum(len(data) for data in clone.files(".git", "datapin", "store", "packs").values())


def test_a_read_brings_what_it_touches(source: Clone, clone: Clone) -> None:
    dataset = datapin.open(DATASET, repo=clone.path)
    assert packed_bytes(clone) == 0
    sample = dataset[7]
    assert sample.read() == images(source)[sample.key]
    everything = datapin.open(DATASET, repo=source.path)
    assert everything.digest == dataset.digest
    assert read_in_batches(dataset, 7) == images(source)
    assert clone.json("fetch")["assets"] == 0


def test_a_version_of_a_clone_that_has_nothing_is_read_by_its_rows(source: Clone, clone: Clone) -> None:
    dataset = datapin.open(DATASET, version="HEAD", where="label = '2'", repo=clone.path)
    assert len(dataset) == IMAGES // CLASSES
    assert dataset[0].read() == images(source)[dataset[0].key]


def test_never_fetch_means_never(clone: Clone) -> None:
    with pytest.raises(ManifestMissing):
        datapin.open(DATASET, fetch="never", repo=clone.path)
    clone.datapin("show", DATASET)
    dataset = datapin.open(DATASET, fetch="never", repo=clone.path)
    for read in (dataset[0].read, next(dataset.batches(3)).read):
        with pytest.raises(AssetsMissing) as caught:
            read()
        assert caught.value.hint == "run `datapin fetch`"
    with pytest.raises(Usage, match="fetch"):
        datapin.open(DATASET, fetch="always", repo=clone.path)  # type: ignore[arg-type]  # a mistake of the caller


def test_offline_the_error_says_why_nothing_came(offline: Clone) -> None:
    dataset = datapin.open(DATASET, repo=offline.path)
    for read in (dataset[0].read, next(dataset.batches(3)).read):
        with pytest.raises(AssetsMissing, match=r"not in the local store: .*; remote s3://nowhere") as caught:
            read()
        assert caught.value.hint == "run `datapin fetch`"
    message, hint = offline.refusal("checkout", DATASET, "--into", "out", code=20)
    assert "0/000.png" in message
    assert "s3://nowhere" in message
    assert "datapin fetch" in hint
    assert not (offline.path / "out").exists()
    for name in ("config", "config.local"):
        (offline.path / ".dvc" / name).write_text("")
    message, _ = offline.refusal("checkout", DATASET, "--into", "out", code=20)
    assert "remote" in message


def test_a_checkout_brings_what_it_writes(source: Clone, clone: Clone) -> None:
    written = clone.json("checkout", DATASET, "--into", "out", "--where", "label = '1'")
    assert written["written"] == IMAGES // CLASSES
    assert clone.files("out") == {key: data for key, data in images(source).items() if key.startswith("1/")}
    assert clone.datapin("checkout", DATASET, "--into", "all").stderr.startswith("checkout of data/raw: fetching")
    assert clone.files("all") == images(source)


def test_a_stage_brings_its_input(source: Clone, clone: Clone) -> None:
    source_run = source.json("run", "prepare")
    clone.datapin("show", DATASET)
    assert clone.json("run", "prepare")["digest"] == source_run["digest"]
    assert clone.json("run", "augment")["computed"] > 0


def test_a_stage_without_a_remote_names_the_rows_it_lacks(offline: Clone) -> None:
    ended = offline.datapin("run", "prepare", code=20)
    assert "s3://nowhere" in ended.stderr
    assert "0/000.png" in ended.stderr
    assert "datapin fetch" in ended.stderr


def test_a_dataset_is_sent_to_a_spawned_process(source: Clone, clone: Clone) -> None:
    dataset = datapin.open(DATASET, where="label <> '0'", repo=clone.path)
    first, second = dataset.batches(IMAGES, shuffle=3), dataset.batches(5)
    sent = [dataset, dataset[1], next(first), next(second)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as processes:
        for read in processes.map(contents_of, sent):
            assert read
            assert read.items() <= images(source).items()
    # What a process that ended still held in memory is not in the store; what nobody asked for never is.
    with pytest.raises(AssetsMissing):
        datapin.open(DATASET, fetch="never", repo=clone.path).read(0)  # a row that nobody asked for


def contents_of(sent: Dataset | Sample | Batch) -> dict[str, bytes]:
    if isinstance(sent, Sample):
        return {sent.key: sent.read()}
    if isinstance(sent, Batch):
        return dict(zip(sent.table["key"].to_pylist(), sent.read(), strict=True))
    return {sample.key: sample.read() for sample in sent}


def test_rows_that_changed_on_the_way_to_another_process_are_refused(clone: Clone) -> None:
    dataset = datapin.open(DATASET, repo=clone.path)
    again, arguments = dataset.__reduce__()
    assert again(*arguments).digest == dataset.digest
    clone.datapin("remove", DATASET, "--where", "label = '0'")
    with pytest.raises(Refused, match="other rows"):
        again(*arguments)


@pytest.fixture(params=["directory", "moto"])
def remote_of_clone(request: pytest.FixtureRequest, source: Clone, tmp_path: Path) -> Clone:
    """A fresh clone of a repository with this kind of remote."""
    shared = Clone(tmp_path / "shared")
    shutil.copytree(source.path, shared.path, symlinks=True)
    if request.param == "moto":
        server: S3Server = request.getfixturevalue("moto_server")
        share(shared, bucket_place(server))
    clone = Clone(tmp_path / "fresh")
    shared.git("clone", "-q", shared.path, clone.path)
    shutil.copy(shared.path / ".dvc" / "config.local", clone.path / ".dvc")
    return clone


def test_batches_come_from_every_remote(source: Clone, remote_of_clone: Clone) -> None:
    dataset = datapin.open(DATASET, repo=remote_of_clone.path)
    assert read_in_batches(dataset, 6) == images(source)


LEFT_IN_THE_MIDDLE = """
import sys
import datapin
batches = datapin.open("data/raw", repo=sys.argv[1]).batches(2)
print(len(next(batches).read()), flush=True)
if sys.argv[2] == "wait":
    while True:
        next(batches).read()
        batches = datapin.open("data/raw", repo=sys.argv[1]).batches(2)
"""


def test_a_program_may_end_in_the_middle_of_an_epoch(remote_of_clone: Clone) -> None:
    command = [sys.executable, "-c", LEFT_IN_THE_MIDDLE, str(remote_of_clone.path)]
    ended = subprocess.run([*command, "end"], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")
    running = subprocess.Popen([*command, "wait"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"2\n"
    said = b""
    while running.returncode is None:
        # Again if nothing comes of it: Python ignores an interrupt that comes while it collects garbage.
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            _, said = running.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert b"datapin-ahead" not in said
