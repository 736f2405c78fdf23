"""Remotes that clones share: the settings that lead to one, a user at work on it, and what must always hold of it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.base.settings import StoreSettings
from datapin.cli.main import main
from datapin.manifest.columns.schema import asset_columns
from datapin.manifest.manifest import Manifest
from datapin.store.index import Index, join_entries
from datapin.store.index_files import decode_index
from datapin.store.store import Store
from servers.s3_server import S3Server

OBJECTS = "files/md5"
CANARY_TOKEN = "canary-token-" + "b7" * 20


@dataclass(frozen=True)
class Place:
    """A place for a DVC remote: `settings` are committed, `secrets` stay in one clone; `objects` reads it all."""

    name: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str]
    objects: Callable[[], dict[str, bytes]]

    def configure(self, root: Path, **changed: str) -> None:
        """Make it the default remote of the clone at `root`; `changed` settings stand in for ours, secrets too."""
        settings = {name: changed.get(name, value) for name, value in self.settings.items()}
        secrets = {name: changed.get(name, value) for name, value in self.secrets.items()}
        more = {name: value for name, value in changed.items() if name not in {**settings, **secrets}}
        (root / ".dvc" / "config").write_text(f"[core]\n    remote = shared\n{_section(settings)}")
        (root / ".dvc" / "config.local").write_text(_section({**secrets, **more}))


def directory_place(path: Path) -> Place:
    def objects() -> dict[str, bytes]:
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}

    return Place("directory", {"url": str(path)}, {}, objects)


def bucket_place(server: S3Server) -> Place:
    """A bucket of its own, and a prefix in it."""
    bucket = server.new_bucket()

    def objects() -> dict[str, bytes]:
        return {key.removeprefix("team/"): data for key, data in server.objects(bucket).items()}

    return Place(
        server.name,
        {"url": f"s3://{bucket}/team", "endpointurl": server.endpoint, "region": "us-east-1"},
        {"access_key_id": server.access_key, "secret_access_key": server.secret_key},
        objects,
    )


@dataclass(frozen=True)
class Ended:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    def refused(self, code: int) -> str:
        """The one line of an error with this exit code; a hint follows it."""
        assert self.code == code, (self.code, self.out, self.err)
        # With -v, what happened stands around it.
        found = re.findall(r"^error: (.+)\nhint:  \S", self.err, re.MULTILINE)
        assert len(found) == 1, self.err
        return str(found[0])

    def done(self) -> Ended:
        assert self.code == 0, (self.code, self.out, self.err)
        return self


@dataclass(frozen=True)
class Worker:
    """A clone and a user in it, who runs datapin in this very process: a tenth of a second saved each time."""

    path: Path

    def copy(self, path: Path) -> Worker:
        shutil.copytree(self.path, path, symlinks=True)
        return Worker(path)

    def datapin(self, *words: str) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with chdir(self.path), redirect_stdout(out), redirect_stderr(err):
            try:
                main(words)
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Ended(code, out.getvalue(), err.getvalue())

    @property
    def store(self) -> Store:
        return Store.open(self.path / ".git" / "datapin" / "store", StoreSettings())

    def ids(self, dataset: str) -> IdMatrix:
        """The assets that the work tree's manifest names."""
        manifest = Manifest.open(self.path / dataset)
        manifest.verify()
        return ids_of_manifest(manifest)

    def check_store(self) -> None:
        """Nothing here is damaged or half-published; there may be nothing."""
        if not (self.path / ".git" / "datapin" / "store").exists():
            return
        findings = [found for found in self.store.check() if found.severity == "error"]
        assert not findings, findings

    def read_all(self, dataset: str) -> int:
        """Read every asset of the dataset from the store, which verifies them; how many there are."""
        ids = self.ids(dataset)
        contents = self.store.reader(ids).read_batch(range(len(ids)))
        assert [hashlib.sha256(data).digest() for data in contents] == [raw_id.tobytes() for raw_id in ids]
        return len(ids)


def ids_of_manifest(manifest: Manifest) -> IdMatrix:
    columns = [manifest.to_table(columns=[name])[name].drop_null() for name in asset_columns(manifest.schema)]
    return np.concatenate([ids_from_hex(column) for column in columns])


@dataclass(frozen=True)
class Shared:
    """What a remote holds, after everything in it was checked."""

    final: frozenset[tuple[str, str, str]] = frozenset()  # dataset, digest, manifest of each final root
    pending: int = 0
    named: frozenset[str] = frozenset()  # keys of what is named by its content: the same after any way to push it


def check_shared(objects: Mapping[str, bytes], scratch: Path) -> Shared:
    """Nothing visible lacks anything: an index names only packs that are there, a final root only what is there.

    `objects` are all of the remote. Every object that is named by its content has it.
    """
    parts = []
    shared = Shared(named=frozenset(key for key in objects if "/roots/" not in key))
    for key, data in objects.items():
        name = PurePosixPath(key).name.split(".")[0]
        if key.startswith(("datapin/packs/", "datapin/assets/")):
            assert hashlib.sha256(data).hexdigest() == name, key
        elif key.startswith("datapin/index/"):
            parts.append(decode_index(name, data, key))
        elif key.startswith(f"{OBJECTS}/"):
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            assert f"{OBJECTS}/{md5[:2]}/{md5[2:]}" == key.removesuffix(".dir"), key
    index = Index(join_entries(parts))
    for pack in index.entries.packs:
        assert _pack(pack.hex()) in objects, f"the index names pack {pack.hex()}"
    for row in np.flatnonzero(index.entries.pack < 0):
        assert _loose(index.entries.ids[row].tobytes().hex()) in objects
    final, pending = set(), 0
    for key, data in objects.items():
        if not key.startswith("datapin/roots/"):
            continue
        root = json.loads(data)
        if root["state"] != "final":
            pending += 1
            continue
        final.add((root["dataset"], root["digest"], root["manifest"]))
        missing = {_pack(pack) for pack in root["packs"]} | {_loose(name) for name in root["loose"]}
        assert missing <= objects.keys(), f"{key} names what is not there"
        manifest = _lay_out(objects, root["manifest"], scratch / root["manifest"])
        assert manifest.digest == root["digest"]
        assert index.find(ids_of_manifest(manifest))[0].all(), f"{key}: an asset is in no index"
    return replace(shared, final=frozenset(final), pending=pending)


def _lay_out(objects: Mapping[str, bytes], md5: str, folder: Path) -> Manifest:
    """The manifest of a root record, from the objects of the remote alone."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = md5.removesuffix(".dir")
    for entry in json.loads(objects[f"{OBJECTS}/{plain[:2]}/{plain[2:]}.dir"]):
        shard: str = entry["md5"]
        (folder / entry["relpath"]).write_bytes(objects[f"{OBJECTS}/{shard[:2]}/{shard[2:]}"])
    manifest = Manifest.open(folder)
    manifest.verify()
    return manifest


def _pack(name: str) -> str:
    return f"datapin/packs/{name[:2]}/{name}.pack"


def _loose(name: str) -> str:
    return f"datapin/assets/{name[:2]}/{name}"


def _section(values: Mapping[str, str]) -> str:
    lines = "".join(f"    {name} = {value}\n" for name, value in values.items())
    return f"['remote \"shared\"']\n{lines}" if lines else ""
