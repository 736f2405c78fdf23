"""A push and a fetch through a proxy that spoils requests: finished after a retry, or one clear error and no damage.

Every fault hits every phase of a push (listing, pack, loose asset, index, manifest, root record put, root record
replaced) and of a fetch (listing, manifest, index, whole pack, part of a pack, loose asset).
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clones import Clone
from remotes import CANARY_TOKEN, OBJECTS, Ended, Place, Shared, Worker, bucket_place, check_shared
from servers.fault_proxy import Fault, FaultProxy, Kind
from servers.s3_server import S3Server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")

DATASET = "data/raw"
SMALL_FILES, FILES = 300, 301

LIST = r"^GET /[^/]+/?\?.*list-type=2"
MANIFEST_PUT = rf"^PUT .*/{OBJECTS}/"
ROOT_PUT = r"^PUT .*/datapin/roots/"
PUSH_PHASES = {
    "list": Fault("answer", LIST),
    "pack": Fault("answer", r"^PUT .*/datapin/packs/"),
    "loose asset": Fault("answer", r"^(PUT|POST) .*/datapin/assets/"),
    "index": Fault("answer", r"^PUT .*/datapin/index/"),
    "manifest": Fault("answer", MANIFEST_PUT),
    "root put": Fault("answer", ROOT_PUT),
    "root replaced": Fault("answer", ROOT_PUT, passes=1),
}
PUTS = {name: fault for name, fault in PUSH_PHASES.items() if name != "list"}
CONTENT_PHASES = {
    "manifest": Fault("answer", rf"^GET [^?]*/{OBJECTS}/"),
    "index": Fault("answer", r"^GET [^?]*/datapin/index/"),
    "pack": Fault("answer", r"^GET [^?]*/datapin/packs/"),
    "loose asset": Fault("answer", r"^GET [^?]*/datapin/assets/"),
}
FETCH_PHASES = {"list": PUSH_PHASES["list"], **CONTENT_PHASES}
KINDS = ("packs", "assets", "index", "md5")

PASSING = {
    "busy": Fault("answer", status=503, code="SlowDown"),
    "broken": Fault("answer", status=500, code="InternalError"),
    "reset before": Fault("reset_before"),
    "reset after": Fault("reset_after"),
    "no answer": Fault("drop"),
}
REFUSED = {
    "denied": (Fault("answer", status=403, code="AccessDenied"), "denies access"),
    "expired": (Fault("answer", status=400, code="ExpiredToken"), "expired"),
    "no bucket": (Fault("answer", status=404, code="NoSuchBucket"), "no bucket"),
}


@dataclass(frozen=True)
class Scene:
    """A bucket behind a proxy, a clone that has the data, and clones that have nothing."""

    place: Place
    proxy: FaultProxy
    sender: Worker
    receiver: Worker
    scratch: Path
    numbers: Iterator[int]

    def fresh(self) -> Worker:
        """Another clone that never spoke to the remote."""
        clone = self.receiver.copy(self.scratch / f"fresh{next(self.numbers)}")
        self.place.configure(clone.path, endpointurl=self.proxy.url)
        return clone

    def shared(self) -> Shared:
        """What the bucket holds, checked."""
        return check_shared(self.place.objects(), self.scratch / f"shared{next(self.numbers)}")

    def push(self, *faults: Fault) -> Ended:
        """Push from the clone that has the data, with only these faults on the way."""
        self.proxy.spoil(*faults)
        return self.sender.datapin("push", "-v")

    def fetch(self, clone: Worker, *words: str, faults: tuple[Fault, ...] = ()) -> Ended:
        self.proxy.spoil(*faults)
        return clone.datapin("fetch", "-v", *words)


@pytest.fixture(scope="module")
def sender(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A clone with several packs and a loose asset; its source files are gone."""
    path = tmp_path_factory.mktemp("faults") / "sender"
    shutil.copytree(blank, path, symlinks=True)
    noise = random.Random(5)
    for number in range(SMALL_FILES):
        file = path / "img" / str(number % 10) / f"{number:03}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise.randbytes(700 + number))
    (path / "img" / "0" / "big.bin").write_bytes(noise.randbytes((4 << 20) + 100_000))
    (path / ".datapin" / "config.local.toml").write_text("[store]\npack_size = 65536\n")
    clone = Clone(path)
    clone.datapin("add", "img", "--to", DATASET, "--label", "parent", "-q")
    shutil.rmtree(path / "img")
    clone.commit("data")
    return Worker(path)


@pytest.fixture(scope="module")
def receiver(sender: Worker) -> Worker:
    path = sender.path.parent / "receiver"
    Clone(sender.path).git("clone", "-q", sender.path, path)
    return Worker(path)


@pytest.fixture
def scene(
    s3_server: S3Server,
    fault_proxy: FaultProxy,
    sender: Worker,
    receiver: Worker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    place = bucket_place(s3_server)
    if not s3_server.checks_keys:
        place = replace(place, secrets={**place.secrets, "session_token": CANARY_TOKEN})
    pusher = sender.copy(tmp_path / "sender")
    place.configure(pusher.path, endpointurl=fault_proxy.url)
    return Scene(place, fault_proxy, pusher, receiver, tmp_path, itertools.count())


def at(phase: Fault, fault: Fault, times: int = 1 << 30) -> Fault:
    """This fault in that phase."""
    return replace(fault, to=phase.to, passes=phase.passes, times=times)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_in_every_phase_is_not_even_noticed(scene: Scene, fault: Fault) -> None:
    scene.push(*(at(phase, fault, times=1) for phase in PUSH_PHASES.values())).done()
    assert scene.proxy.used == len(PUSH_PHASES)
    shared = scene.shared()
    assert len(shared.final) == 1
    assert shared.pending == 0
    clone = scene.fresh()
    scene.fetch(clone, faults=tuple(at(phase, fault, times=1) for phase in FETCH_PHASES.values())).done()
    assert scene.proxy.used == len(FETCH_PHASES)
    assert clone.read_all(DATASET) == FILES
    clone.check_store()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["truncate", "stall", "corrupt"])
def test_a_body_that_came_damaged_is_read_again(scene: Scene, kind: Kind) -> None:
    scene.push().done()
    fault = Fault(kind, after_bytes=20)
    clone = scene.fresh()
    # A bit that flips in a listing is the server's and TCP's to notice: a listing has no hash.
    phases = CONTENT_PHASES if kind == "corrupt" else FETCH_PHASES
    scene.fetch(clone, faults=tuple(at(phase, fault, times=1) for phase in phases.values())).done()
    assert scene.proxy.used == len(phases)
    assert clone.read_all(DATASET) == FILES
    clone.check_store()
    some = scene.fresh()
    ranges = scene.fetch(some, "--where", "label = '3'", faults=(at(CONTENT_PHASES["pack"], fault, times=1),))
    ranges.done()
    spoiled = [request for request in scene.proxy.requests if request.fault]
    assert [bool(request.bytes_range) for request in spoiled] == [True]
    some.check_store()


@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
def test_a_push_that_is_refused_in_any_phase_stays_invisible_and_a_rerun_finishes(
    scene: Scene, refusal: tuple[Fault, str]
) -> None:
    fault, word = refusal
    for name, phase in PUSH_PHASES.items():
        message = scene.push(at(phase, fault)).refused(30)
        assert scene.proxy.used, name
        assert word in message.lower(), (name, message)
        shared = scene.shared()
        assert not shared.final, name
        if name in ("list", "root replaced"):
            clone = scene.fresh()
            ended = scene.fetch(clone)
            if name == "list":
                ended.refused(20)
            clone.check_store()
    finish(scene)


@pytest.mark.parametrize(("name", "kind"), [("list", "busy"), ("pack", "no answer"), ("root replaced", "broken")])
def test_a_push_that_never_gets_through_says_so_and_a_rerun_finishes(
    scene: Scene, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "no answer":
        monkeypatch.setenv("DATAPIN_REMOTE_TIMEOUT_S", "0.5")
    scene.push(at(PUSH_PHASES[name], PASSING[kind])).refused(30)
    while not scene.proxy.used:  # a slow machine's first answers, too, may be too late
        scene.push(at(PUSH_PHASES[name], PASSING[kind])).refused(30)
    monkeypatch.delenv("DATAPIN_REMOTE_TIMEOUT_S", raising=False)
    assert not scene.shared().final
    finish(scene)


def test_a_push_whose_answers_are_always_lost_is_settled_by_reading_back(scene: Scene) -> None:
    scene.push(Fault("reset_after", PUTS["loose asset"].to), Fault("reset_after", ROOT_PUT)).done()
    answers = {request.status for request in scene.proxy.requests if request.fault}
    assert answers == {200, 412}  # it was ours that was there
    assert len(scene.shared().final) == 1


def test_an_upload_that_is_cut_off_is_sent_again(scene: Scene) -> None:
    scene.push(*(at(phase, Fault("cut_upload"), times=1) for phase in PUTS.values())).done()
    assert scene.proxy.used == len(PUTS)
    assert len(scene.shared().final) == 1


@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
def test_a_fetch_that_is_refused_in_any_phase_leaves_a_clean_store_and_a_rerun_finishes(
    scene: Scene, refusal: tuple[Fault, str]
) -> None:
    fault, word = refusal
    scene.push().done()
    for name, phase in FETCH_PHASES.items():
        clone = scene.fresh()
        message = scene.fetch(clone, faults=(at(phase, fault),)).refused(30)
        assert scene.proxy.used, name
        assert word in message.lower(), (name, message)
        clone.check_store()
    scene.fetch(clone).done()
    assert clone.read_all(DATASET) == FILES


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [*((name, "corrupt", 21) for name in CONTENT_PHASES), ("pack", "truncate", 30)],
)
def test_bytes_that_are_always_wrong_never_get_in(scene: Scene, name: str, kind: Kind, code: int) -> None:
    scene.push().done()
    clone = scene.fresh()
    fault = Fault(kind, after_bytes=20)
    scene.fetch(clone, faults=(at(CONTENT_PHASES[name], fault),)).refused(code)
    assert scene.proxy.used
    clone.check_store()
    scene.fetch(clone).done()
    assert clone.read_all(DATASET) == FILES


def test_a_rotten_object_is_named_and_never_becomes_data(scene: Scene, s3_server: S3Server) -> None:
    scene.push().done()
    bucket = scene.place.settings["url"].split("/")[2]
    found = {kind: sorted(key for key in s3_server.keys(bucket) if f"/{kind}/" in key)[0] for kind in KINDS}
    for key in found.values():
        whole = s3_server.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        middle = len(whole) // 2
        rotten = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        s3_server.client.put_object(Bucket=bucket, Key=key, Body=rotten)
        clone = scene.fresh()
        message = scene.fetch(clone).refused(21)
        assert Path(key).stem in message.replace("/", "") or Path(key).stem[:8] in message, (key, message)
        clone.check_store()
        s3_server.client.put_object(Bucket=bucket, Key=key, Body=whole)


@pytest.mark.parametrize("wrong", ["access_key_id", "secret_access_key"])
def test_wrong_keys_are_told_from_a_server_that_is_away(scene: Scene, s3_server: S3Server, wrong: str) -> None:
    fault = Fault("answer", status=403, code="InvalidAccessKeyId" if "id" in wrong else "SignatureDoesNotMatch")
    if s3_server.checks_keys:
        scene.place.configure(scene.sender.path, endpointurl=scene.proxy.url, **{wrong: "wrong"})
    message = scene.push(*([] if s3_server.checks_keys else [fault])).refused(30)
    assert "key" in message
    assert not scene.place.objects()
    scene.place.configure(scene.sender.path, endpointurl=scene.proxy.url)
    finish(scene)


def test_who_may_not_write_roots_publishes_nothing_and_a_reader_needs_no_right_to_write(
    scene: Scene, s3_server: S3Server
) -> None:
    bucket = scene.place.settings["url"].split("/")[2]
    if s3_server.checks_keys:
        forbid(s3_server, bucket, "s3:PutObject", "team/datapin/roots/*")
    denied = [] if s3_server.checks_keys else [at(PUSH_PHASES["root put"], REFUSED["denied"][0])]
    assert "denies access" in scene.push(*denied).refused(30)
    assert not scene.shared().final
    if s3_server.checks_keys:
        s3_server.client.delete_bucket_policy(Bucket=bucket)
    finish(scene)
    writes = r"^(PUT|POST|DELETE) "
    if s3_server.checks_keys:
        forbid(s3_server, bucket, "s3:PutObject", "*")
        forbid(s3_server, bucket, "s3:DeleteObject", "*")
    clone = scene.fresh()
    scene.fetch(clone).done()
    assert clone.read_all(DATASET) == FILES
    assert not [request.line for request in scene.proxy.requests if re.match(writes, request.line)]


def test_a_push_deletes_nothing(scene: Scene) -> None:
    scene.push().done()
    assert not [request.line for request in scene.proxy.requests if request.method == "DELETE"]


def test_a_bucket_that_was_never_made_and_a_server_that_is_away_are_told_apart(scene: Scene, closed_port: int) -> None:
    url = scene.place.settings["url"].replace("bucket-", "no-bucket-")
    scene.place.configure(scene.sender.path, endpointurl=scene.proxy.url, url=url)
    assert "there is no bucket" in scene.push().refused(30)
    scene.place.configure(scene.sender.path, endpointurl=f"http://127.0.0.1:{closed_port}")
    assert "connection refused" in scene.push().refused(30)


def test_no_secret_is_ever_said_or_written(scene: Scene) -> None:
    """Whatever a user turns on: `-v`, and what the libraries below us log."""
    canaries = [
        scene.place.secrets[name] for name in ("secret_access_key", "session_token") if name in scene.place.secrets
    ]
    sender, fresh = Clone(scene.sender.path), Clone(scene.fresh().path)
    loud = {"RUST_LOG": "trace", "PYTHONASYNCIODEBUG": "1"}
    scene.proxy.spoil(replace(REFUSED["expired"][0], to="^PUT"), Fault("truncate", "^GET", after_bytes=10, times=3))
    said = [sender.datapin("push", "-v", code=30, env=loud)]
    scene.proxy.spoil(Fault("truncate", "^GET", after_bytes=10, times=3))
    said += [clone.datapin(verb, "-v", env=loud) for verb, clone in (("push", sender), ("fetch", fresh))]
    said += [sender.datapin("doctor", "-v", code=None, env=loud)]
    for ended in said:
        assert not [canary for canary in canaries if canary in ended.stdout + ended.stderr]
    for clone in (sender, fresh):
        holders = [name for name, data in clone.files().items() for canary in canaries if canary.encode() in data]
        assert set(holders) == {".dvc/config.local"}


def forbid(server: S3Server, bucket: str, action: str, keys: str) -> None:
    """A bucket policy that denies everybody this."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": [action],
        "Resource": [f"arn:aws:s3:::{bucket}/{keys}"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    server.client.put_bucket_policy(Bucket=bucket, Policy=policy)


def finish(scene: Scene) -> None:
    """A rerun without faults finishes: the same objects as after a clean run, and a fresh clone reads them."""
    scene.push().done()
    shared = scene.shared()
    assert len(shared.final) == 1
    clone = scene.fresh()
    scene.fetch(clone).done()
    assert clone.read_all(DATASET) == FILES
