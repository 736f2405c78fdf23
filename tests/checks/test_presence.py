"""Presence: what was lost on a remote is found by asking the remote, also where DVC says that all is in sync."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checks.planted import Planted
from clones import BIN, Clone, write_images
from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.backends.wrappers import BackendBelow
from datapin.base.progress import SILENT
from datapin.checks.bytes import presence
from datapin.checks.runner import run_checks
from datapin.checks.subject import RemoteSide, Subject
from datapin.store.remote import RemoteStore
from datapin.verbs.verify.subject import subject_of
from datapin.verbs.workspace.workspace import Workspace
from remotes import Worker, bucket_place
from servers.s3_server import S3Server
from tapped_backend import TappedBackend

READS = {"get", "get_ranges", "head", "iter_objects", "get_tagged"}
NAMES = [check.name for check in presence.CHECKS]


@dataclasses.dataclass(frozen=True)
class Pushed(Worker):
    """A clone whose dataset, large asset and model are on the remote beside it."""

    @property
    def lab(self) -> Path:
        return self.path.parent / "lab"

    def objects(self, pattern: str) -> list[Path]:
        found = sorted(self.lab.glob(pattern))
        assert found, pattern
        return found

    def findings(self, *more: str) -> list[dict[str, Any]]:
        ended = self.datapin("verify", "--check", "presence", "--json", *more)
        found = json.loads(ended.out)
        assert ended.code == (0 if found["ok"] else 1)
        return list(found["findings"])

    def forget(self) -> None:
        """As on a machine that never spoke to the remote."""
        shutil.rmtree(self.path / ".git" / "datapin" / "cache", ignore_errors=True)

    def says_dvc(self) -> str:
        return Clone(self.path).dvc("status", "-c", "data/raw.dvc", "model.bin.dvc").stdout


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """One dataset in two packs and one large asset, a model, a folder of plots."""
    top = tmp_path_factory.mktemp("presence")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    config = clone.path / ".datapin" / "config.toml"
    config.write_text(config.read_text().replace("[store]", "[store]\nlarge_asset = 4096"))
    write_images(clone.path / "img")
    (clone.path / "img" / "a" / "large.bin").write_bytes(b"large" * 1000)
    (clone.path / "model.bin").write_bytes(b"weights" * 100)
    (clone.path / "plots").mkdir()
    (clone.path / "plots" / "roc.csv").write_text("fpr,tpr\n")
    (top / "lab").mkdir()
    with (clone.path / ".dvc" / "config").open("a") as settings:
        settings.write("[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../lab\n")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.dvc("add", "model.bin", "plots", "-q")
    clone.dvc("push", "-q", "model.bin.dvc", "plots.dvc")
    clone.datapin("push", "-q")
    write_images(clone.path / "img", classes="abc")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.datapin("push", "-q")
    clone.commit("v2")
    return Pushed(clone.path)


@pytest.fixture
def pushed(once: Pushed, tmp_path: Path) -> Pushed:
    shutil.copytree(once.path.parent, tmp_path / "copy", symlinks=True)
    return Pushed(tmp_path / "copy" / "repo")


def lose(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def object_of(lab: Path, md5: str) -> Path:
    return lab / "files/md5" / md5[:2] / md5[2:]


def pinned_md5(pushed: Pushed, file: str) -> str:
    lines = (pushed.path / file).read_text().splitlines()
    return next(line.split("md5: ")[1] for line in lines if "md5: " in line and "hash" not in line)


def shard_of(pushed: Pushed) -> Path:
    listed = json.loads(object_of(pushed.lab, pinned_md5(pushed, "data/raw.dvc")).read_bytes())
    return object_of(pushed.lab, listed[0]["md5"])


def file_of_plots(pushed: Pushed) -> Path:
    listed = json.loads(object_of(pushed.lab, pinned_md5(pushed, "plots.dvc")).read_bytes())
    return object_of(pushed.lab, listed[0]["md5"])


def newest_index(pushed: Pushed) -> Path:
    return max(pushed.objects("datapin/index/*.parquet"), key=lambda path: path.stat().st_mtime_ns)


def test_a_remote_that_holds_all_has_no_findings(once: Pushed) -> None:
    assert once.findings() == []
    assert once.findings("HEAD") == []


def test_a_clone_that_has_nothing_but_git_says_the_same_and_fetches_no_asset(once: Pushed, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(once.path), str(tmp_path / "repo")], check=True)
    shutil.copytree(once.lab, tmp_path / "lab")
    reader = Pushed(tmp_path / "repo")
    assert reader.findings() == []
    assert not list((reader.path / ".git" / "datapin" / "store").glob("packs/*/*"))


@pytest.mark.planted("presence.manifests", "a shard is lost on the remote; `dvc status -c` says in sync")
def test_a_lost_shard_is_found_where_dvc_says_in_sync(pushed: Pushed, planted: Planted) -> None:
    lose(shard_of(pushed))
    assert "in sync" in pushed.says_dvc()
    (found,) = planted.seen(pushed.findings())
    assert found.where == "data/raw"
    assert "part-00000.parquet is not on remote lab" in found.message


@pytest.mark.planted("presence.manifests", "DVC's list of the shards is lost on the remote")
def test_a_lost_list_is_found(pushed: Pushed, planted: Planted) -> None:
    lose(object_of(pushed.lab, pinned_md5(pushed, "data/raw.dvc")))
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.manifests", "a shard on the remote is cut off; `dvc status -c` says in sync")
def test_a_shard_that_is_cut_off_is_found(pushed: Pushed, planted: Planted) -> None:
    shard = shard_of(pushed)
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:-9])
    assert "in sync" in pushed.says_dvc()
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.packs", "a pack is lost on the remote; `dvc status -c` says in sync")
def test_a_lost_pack_is_found_where_dvc_says_in_sync(pushed: Pushed, planted: Planted) -> None:
    lose(pushed.objects("datapin/packs/*/*")[0])
    assert "in sync" in pushed.says_dvc()
    (found,) = planted.seen(pushed.findings())
    assert "is not there" in found.message
    assert found.hint == "run `datapin push data/raw --again` where the data is"


@pytest.mark.parametrize("kept", [-40, 30, 0])
@pytest.mark.planted("presence.packs", "a pack on the remote is cut off")
def test_a_pack_that_is_cut_off_is_found(pushed: Pushed, planted: Planted, kept: int) -> None:
    pack = pushed.objects("datapin/packs/*/*")[0]
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:kept])
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.loose", "a large asset is lost on the remote; `dvc status -c` says in sync")
def test_a_lost_loose_asset_is_found(pushed: Pushed, planted: Planted) -> None:
    lose(*pushed.objects("datapin/assets/*/*"))
    assert "in sync" in pushed.says_dvc()
    (found,) = planted.seen(pushed.findings())
    assert "a/large.bin" in found.message


@pytest.mark.planted("presence.loose", "a large asset on the remote is cut off")
def test_a_loose_asset_that_is_cut_off_is_found(pushed: Pushed, planted: Planted) -> None:
    (asset,) = pushed.objects("datapin/assets/*/*")
    asset.chmod(0o644)
    asset.write_bytes(b"large")
    planted.seen(pushed.findings())


@pytest.mark.parametrize("knows", [True, False], ids=["known here", "never seen here"])
@pytest.mark.planted("presence.index", "an index file is lost on the remote; `dvc status -c` says in sync")
def test_a_lost_index_is_found(pushed: Pushed, planted: Planted, knows: bool) -> None:
    lose(newest_index(pushed))
    if not knows:
        pushed.forget()
    assert "in sync" in pushed.says_dvc()
    (found,) = planted.seen(pushed.findings())
    assert "no index file names them" in found.message


@pytest.mark.planted("presence.index", "an index file on the remote is cut off, and was read here while it was whole")
def test_an_index_that_is_cut_off_is_found_although_it_is_known_here(pushed: Pushed, planted: Planted) -> None:
    assert pushed.findings() == []
    index = newest_index(pushed)
    index.chmod(0o644)
    index.write_bytes(index.read_bytes()[:-9])
    planted.seen(pushed.findings())
    pushed.forget()
    unread = {one["check"] for one in pushed.findings() if "could not be checked" in one["message"]}
    assert {"presence.index", "presence.packs", "presence.loose"} <= unread


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])


FAULTS: dict[str, Callable[[Pushed], None]] = {
    "a pack is lost": lambda pushed: lose(pushed.objects("datapin/packs/*/*")[0]),
    "a pack is cut off": lambda pushed: cut(pushed.objects("datapin/packs/*/*")[0]),
    "a large asset is lost": lambda pushed: lose(*pushed.objects("datapin/assets/*/*")),
    "a large asset is cut off": lambda pushed: cut(pushed.objects("datapin/assets/*/*")[0]),
    "an index file is lost": lambda pushed: lose(newest_index(pushed)),
    "all index files are lost": lambda pushed: lose(*pushed.objects("datapin/index/*")),
    "an index file is cut off": lambda pushed: cut(newest_index(pushed)),
    "the roots are lost": lambda pushed: lose(*pushed.objects("datapin/roots/*")),
    "the roots are pending": lambda pushed: rewrite_roots(pushed, state="pending"),
    "a shard is lost": lambda pushed: lose(shard_of(pushed)),
    "a shard is cut off": lambda pushed: cut(shard_of(pushed)),
    "the list is lost": lambda pushed: lose(object_of(pushed.lab, pinned_md5(pushed, "data/raw.dvc"))),
    "a model is lost": lambda pushed: lose(object_of(pushed.lab, pinned_md5(pushed, "model.bin.dvc"))),
    "a model is cut off": lambda pushed: cut(object_of(pushed.lab, pinned_md5(pushed, "model.bin.dvc"))),
    "a folder's file is lost": lambda pushed: lose(file_of_plots(pushed)),
    "a folder's file is cut off": lambda pushed: cut(file_of_plots(pushed)),
    "a folder's list is lost": lambda pushed: lose(object_of(pushed.lab, pinned_md5(pushed, "plots.dvc"))),
    "the format is lost": lambda pushed: lose(pushed.lab / "datapin" / "format.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_hint_says_brings_it_back(pushed: Pushed, fault: str) -> None:
    FAULTS[fault](pushed)
    pushed.forget()
    hints = {one["hint"] for one in pushed.findings()}
    assert hints
    for hint in hints:
        named = hint.removeprefix("delete ").partition(" there, then run ")[0] if hint.startswith("delete ") else ""
        for name in filter(None, named.split(" and ")):
            parts = Path(name).parts[-2:]
            lose(*pushed.lab.rglob("/".join(parts)))
        command = re.search("`(datapin|dvc) ([^`]*)`", hint)
        assert command, hint
        Clone(pushed.path).run(BIN / command[1], *command[2].split())
    pushed.forget()
    assert pushed.findings() == []


def rewrite_roots(pushed: Pushed, **said: Any) -> None:
    for path in pushed.objects("datapin/roots/*.json"):
        path.chmod(0o644)
        record = json.loads(path.read_text()) | said
        del record["checksum"]  # as records of older versions have none
        path.write_text(json.dumps(record, sort_keys=True))


@pytest.mark.planted("presence.roots", "the root record is lost; `dvc status -c` says in sync")
def test_a_lost_root_is_found(pushed: Pushed, planted: Planted) -> None:
    lose(*pushed.objects("datapin/roots/*.json"))
    assert "in sync" in pushed.says_dvc()
    (found,) = planted.seen(pushed.findings())
    assert "no root record says that it was pushed whole" in found.message


@pytest.mark.planted("presence.roots", "the root record is still pending: a push was cut off before its end")
def test_a_root_that_is_still_pending_is_found(pushed: Pushed, planted: Planted) -> None:
    rewrite_roots(pushed, state="pending")
    pushed.forget()
    (found,) = planted.seen(pushed.findings())
    assert "is pending: the push by" in found.message


@pytest.mark.planted("presence.roots", "the root record is expired: a collection of garbage overtook the push")
def test_a_root_that_is_expired_is_found(pushed: Pushed, planted: Planted) -> None:
    rewrite_roots(pushed, state="expired")
    pushed.forget()
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.roots", "the root record does not parse")
def test_a_damaged_root_is_found(pushed: Pushed, planted: Planted) -> None:
    for path in pushed.objects("datapin/roots/*.json"):
        path.chmod(0o644)
        path.write_text("{")
    pushed.forget()
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.roots", "a collector of garbage has condemned a pack that the version needs")
def test_a_version_whose_pack_is_condemned_is_not_safe(pushed: Pushed, planted: Planted) -> None:
    packs = [path.stem for path in pushed.objects("datapin/packs/*/*")]
    (pushed.lab / "datapin/condemned").mkdir()
    (pushed.lab / "datapin/condemned/one.json").write_text(json.dumps({"packs": packs, "loose": []}))
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.outputs", "a model is lost on the remote")
def test_a_lost_model_is_found(pushed: Pushed, planted: Planted) -> None:
    lose(object_of(pushed.lab, pinned_md5(pushed, "model.bin.dvc")))
    (found,) = planted.seen(pushed.findings())
    assert (found.where, found.hint.startswith("run `dvc push model.bin`")) == ("model.bin", True)


@pytest.mark.planted("presence.outputs", "a file of a folder is lost on the remote; `dvc status -c` says in sync")
def test_a_lost_file_of_a_folder_is_found(pushed: Pushed, planted: Planted) -> None:
    lose(file_of_plots(pushed))
    assert "in sync" in Clone(pushed.path).dvc("status", "-c", "plots.dvc").stdout
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.outputs", "a model on the remote is cut off")
def test_a_model_that_is_cut_off_is_found(pushed: Pushed, planted: Planted) -> None:
    model = object_of(pushed.lab, pinned_md5(pushed, "model.bin.dvc"))
    model.chmod(0o644)
    model.write_bytes(b"weigh")
    planted.seen(pushed.findings())


@pytest.mark.planted("presence.outputs", "a model goes to another remote, which was not asked", severity="warning")
def test_an_output_of_another_remote_is_not_passed_over_in_silence(pushed: Pushed, planted: Planted) -> None:
    pointer = pushed.path / "model.bin.dvc"
    pointer.write_text(pointer.read_text() + "  remote: other\n")
    (found,) = planted.seen(pushed.findings())
    assert "--remote-name other" in found.hint


def test_what_is_never_pushed_is_not_missed(pushed: Pushed) -> None:
    lose(object_of(pushed.lab, pinned_md5(pushed, "model.bin.dvc")))
    pointer = pushed.path / "model.bin.dvc"
    pointer.write_text(pointer.read_text() + "  push: false\n")
    assert pushed.findings() == []


ALL_ERRORS = [
    pytest.mark.planted(name, "no remote is set up, it does not answer, or it cannot be read") for name in NAMES
]


def unreadable(function: Any) -> Any:
    for mark in ALL_ERRORS:
        function = mark(function)
    return function


@unreadable
def test_without_a_remote_nothing_passes(pushed: Pushed, planted: Planted) -> None:
    (pushed.path / ".dvc" / "config").write_text("")
    found = planted.seen(pushed.findings())
    assert all("dvc remote add" in one.hint for one in found)


@unreadable
def test_with_a_remote_that_does_not_answer_nothing_passes(pushed: Pushed, planted: Planted) -> None:
    (pushed.path / ".dvc" / "config").write_text(
        "[core]\n    remote = lab\n['remote \"lab\"']\n    url = s3://nobody/here\n"
        "    endpointurl = http://127.0.0.1:9\n    access_key_id = a\n    secret_access_key = b\n"
    )
    ended = Clone(pushed.path).datapin(
        "verify", "--check", "presence", "--json", code=1, DATAPIN_REMOTE_TIMEOUT_S="1", AWS_MAX_ATTEMPTS="1"
    )
    planted.seen(json.loads(ended.stdout)["findings"])


@pytest.mark.planted("presence.remote", "the remote holds no store at all: an empty or a mistyped place")
@pytest.mark.planted("presence.manifests", "the remote holds nothing at all")
@pytest.mark.planted("presence.index", "the remote holds nothing at all")
@pytest.mark.planted("presence.packs", "the remote holds nothing at all")
@pytest.mark.planted("presence.loose", "the remote holds nothing at all")
@pytest.mark.planted("presence.roots", "the remote holds nothing at all")
@pytest.mark.planted("presence.outputs", "the remote holds nothing at all")
def test_a_remote_without_a_store_is_not_green(pushed: Pushed, planted: Planted) -> None:
    shutil.rmtree(pushed.lab)
    pushed.lab.mkdir()
    planted.seen(pushed.findings())


@pytest.mark.parametrize("name", NAMES)
def test_each_check_alone_is_red_if_the_remote_holds_nothing(pushed: Pushed, name: str) -> None:
    shutil.rmtree(pushed.lab)
    pushed.lab.mkdir()
    ended = pushed.datapin("verify", "--check", name, "--json")
    assert ended.code == 1
    assert {one["check"] for one in json.loads(ended.out)["findings"]} == {name}


@pytest.fixture
def tapped(once: Pushed) -> tuple[Subject, TappedBackend]:
    """The subject of a check, on a remote that notes every request."""
    workspace = Workspace.find(once.path, progress=SILENT)
    subject = subject_of(workspace, None, remote_name=None, sample=None)
    backend = TappedBackend(LocalBackend(once.lab))
    root: Any = CountingBackend(backend)
    side = RemoteSide("lab", root, RemoteStore(CountingBackend(BackendBelow(backend, "datapin"))))
    return dataclasses.replace(subject, remote=lambda: side), backend


def test_a_look_only_reads_takes_few_requests_and_no_asset(tapped: tuple[Subject, TappedBackend]) -> None:
    subject, backend = tapped
    results = run_checks(subject, presence.CHECKS)
    assert [finding for result in results for finding in result.findings] == []
    assert {name for name, _ in backend.calls} <= READS
    assert len(backend.calls) <= 20, backend.calls
    read = [key for name, key in backend.calls if name in ("get", "get_ranges")]
    assert not [key for key in read if "packs/" in key or "assets/" in key]


def test_it_works_with_credentials_that_may_only_read(once: Pushed, tmp_path: Path, radosgw_server: S3Server) -> None:
    shutil.copytree(once.path, tmp_path / "repo", symlinks=True)
    worker = Pushed(tmp_path / "repo")
    place = bucket_place(radosgw_server)
    place.configure(worker.path)
    Clone(worker.path).dvc("push", "-q", "model.bin.dvc", "plots.dvc")
    worker.datapin("push").done()
    bucket = place.settings["url"].removeprefix("s3://").split("/")[0]
    only = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "NotAction": ["s3:ListBucket", "s3:GetObject", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }
    radosgw_server.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(only))
    worker.forget()
    assert worker.findings() == []
