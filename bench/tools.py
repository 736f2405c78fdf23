"""The tools that are measured: how each is set up, and which commands are its add, its status, its commit.

A tool that is not installed is reported as failed with that message; it is never left out silently.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stopwatch import Command, RunFailed, run_quietly

SOURCE = "img"
DATASET = "data/raw"
INSTALL = "run bench/install_tools.sh"

_GIT_SETTINGS = {
    "user.name": "bench",
    "user.email": "bench@example.com",
    "init.defaultBranch": "main",
    # A collection in the background would be charged to whichever tool runs next.
    "gc.auto": "0",
    "maintenance.auto": "false",
    "safe.directory": "*",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tool runs: a repository on a fresh file system, the source tree in its folder `img`."""

    root: Path
    environment: Mapping[str, str]

    @property
    def source(self) -> Path:
        """The tree to be added."""
        return self.root / SOURCE

    def call(self, *command: str) -> str:
        """Run one untimed command here. Raises RunFailed."""
        return run_quietly(command, self.root, self.environment)


def make_place(fresh: Path) -> Place:
    """An empty repository folder below `fresh`; home, caches and settings of every tool lie on the same file system."""
    home, root = fresh / "home", fresh / "repo"
    home.mkdir()
    root.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": str(len(_GIT_SETTINGS)),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
        "RESTIC_REPOSITORY": str(fresh / "restic"),
        "RESTIC_PASSWORD": "bench",
        "RESTIC_CACHE_DIR": str(home / "restic-cache"),
    }
    for number, (name, value) in enumerate(_GIT_SETTINGS.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = name
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return Place(root, environment)


class Tool:
    """One tool. Steps it does not have are empty: they are shown as a dash, not as a failure."""

    name: str
    program: str

    def version(self) -> str:
        """The version that is installed. Raises RunFailed if none is."""
        program = shutil.which(self.program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if program is None:
            raise RunFailed(f"{self.program} is not installed: {INSTALL}")
        answer = subprocess.run([program, *self._version_arguments()], text=True, capture_output=True, check=False)
        number = re.search(r"\d+(\.\d+)+", answer.stdout)
        return number.group() if number else "unknown"

    def _version_arguments(self) -> tuple[str, ...]:
        return ("--version",)

    def set_up(self, place: Place) -> None:
        """Everything before the first add; not timed."""

    def add(self, place: Place) -> tuple[Command, ...]:
        """Take the source tree in, as it is now."""
        raise NotImplementedError

    def add_again(self, place: Place) -> tuple[Command, ...]:
        """Take it in again, nothing having changed."""
        return self.add(place)

    def status(self, place: Place) -> tuple[Command, ...]:
        """Ask whether anything changed."""
        return ()

    def commit(self, place: Place) -> tuple[Command, ...]:
        """Make what was added a version in Git, for tools that live in Git."""
        return ()

    def held_files(self, place: Place) -> int:
        """How many files the newest version holds, so that a run which did less than the work does not count."""
        raise NotImplementedError


class Datapin(Tool):
    """What all this is about."""

    name = "datapin"
    program = "datapin"

    def set_up(self, place: Place) -> None:
        _start_repository(place)
        place.call("dvc", "init", "-q")
        (place.root / ".gitignore").write_text(f"/{SOURCE}\n")
        place.call("datapin", "init")
        _commit_all(place)

    def add(self, place: Place) -> tuple[Command, ...]:
        label = "parent" if any(entry.is_dir() for entry in os.scandir(place.source)) else "none"
        return (("datapin", "add", SOURCE, "--to", DATASET, "--label", label, "--mirror"),)

    def status(self, place: Place) -> tuple[Command, ...]:
        return (("datapin", "status"),)

    def commit(self, place: Place) -> tuple[Command, ...]:
        return (("git", "add", "-A"), ("git", "commit", "-qm", "data", "--allow-empty"))

    def held_files(self, place: Place) -> int:
        return int(json.loads(place.call("datapin", "show", DATASET, "--json"))["rows"])


class Dvc(Tool):
    """Stock DVC: one cache object per file."""

    name = "dvc"
    program = "dvc"

    def set_up(self, place: Place) -> None:
        _start_repository(place)
        place.call("dvc", "init", "-q")
        _commit_all(place)

    def add(self, place: Place) -> tuple[Command, ...]:
        return (("dvc", "add", "-q", SOURCE),)

    def status(self, place: Place) -> tuple[Command, ...]:
        return (("dvc", "status"),)

    def commit(self, place: Place) -> tuple[Command, ...]:
        return (("git", "add", "-A"), ("git", "commit", "-qm", "data", "--allow-empty"))

    def held_files(self, place: Place) -> int:
        for line in (place.root / f"{SOURCE}.dvc").read_text().splitlines():
            if line.strip().startswith("nfiles:"):
                return int(line.split(":")[1])
        raise RunFailed(f"{SOURCE}.dvc names no number of files")


class GitLfs(Tool):
    """git-lfs: `git add` through its filter process."""

    name = "git-lfs"
    program = "git-lfs"

    def set_up(self, place: Place) -> None:
        _start_repository(place)
        place.call("git", "lfs", "install", "--local")
        place.call("git", "lfs", "track", f"{SOURCE}/**")
        _commit_all(place)

    def add(self, place: Place) -> tuple[Command, ...]:
        return (("git", "add", "-A"),)

    def status(self, place: Place) -> tuple[Command, ...]:
        return (("git", "status", "--porcelain"),)

    def commit(self, place: Place) -> tuple[Command, ...]:
        return (("git", "commit", "-qm", "data", "--allow-empty"),)

    def held_files(self, place: Place) -> int:
        names = place.call("git", "ls-tree", "-r", "--name-only", "HEAD", f"{SOURCE}/").splitlines()
        first = place.call("git", "show", f"HEAD:{names[0]}")
        if not first.startswith("version https://git-lfs"):
            raise RunFailed(f"{names[0]} was committed whole, not as a pointer")
        return len(names)


class Restic(Tool):
    """restic: a backup tool that packs and encrypts; the fastest of the ones that pack."""

    name = "restic"
    program = "restic"

    def _version_arguments(self) -> tuple[str, ...]:
        return ("version",)

    def set_up(self, place: Place) -> None:
        place.call("restic", "-q", "init")

    def add(self, place: Place) -> tuple[Command, ...]:
        return (("restic", "-q", "backup", SOURCE),)

    def held_files(self, place: Place) -> int:
        listing = place.call("restic", "-q", "--json", "ls", "latest")
        return sum(json.loads(line).get("type") == "file" for line in listing.splitlines())


class Tar(Tool):
    """Raw floor for many files: tar writes the same bytes, find asks for the same stats."""

    name = "tar"
    program = "tar"

    def add(self, place: Place) -> tuple[Command, ...]:
        # A new name each: writing over an old archive would spare the allocation that the others pay for.
        number = sum(1 for _ in place.root.glob("*.tar"))
        return (("tar", "-cf", f"{number}.tar", SOURCE),)

    def add_again(self, place: Place) -> tuple[Command, ...]:
        return ()

    def status(self, place: Place) -> tuple[Command, ...]:
        return (("find", SOURCE, "-type", "f", "-printf", "%s %T@ %p\\n"),)

    def held_files(self, place: Place) -> int:
        newest = max(place.root.glob("*.tar"), key=lambda path: int(path.stem))
        return sum(not name.endswith("/") for name in place.call("tar", "-tf", newest.name).splitlines())


class Floor(Tool):
    """What `add` cannot go below: two processes that read, hash, append and fsync, and know nothing afterwards."""

    name = "floor"
    program = "python"

    def version(self) -> str:
        return platform.python_version()

    def add(self, place: Place) -> tuple[Command, ...]:
        number = sum(1 for _ in place.root.glob("floor-*.count"))
        return ((sys.executable, str(Path(__file__).with_name("floor.py")), SOURCE, f"floor-{number}"),)

    def add_again(self, place: Place) -> tuple[Command, ...]:
        return ()

    def held_files(self, place: Place) -> int:
        newest = max(place.root.glob("floor-*.count"), key=lambda path: path.stat().st_mtime_ns)
        return int(newest.read_text())


class Copy(Tool):
    """Raw floor for big files: cp -r."""

    name = "cp"
    program = "cp"

    def add(self, place: Place) -> tuple[Command, ...]:
        number = sum(1 for _ in place.root.glob("copy-*"))
        return (("cp", "-r", SOURCE, f"copy-{number}"),)

    def add_again(self, place: Place) -> tuple[Command, ...]:
        return ()

    def held_files(self, place: Place) -> int:
        newest = max(place.root.glob("copy-*"), key=lambda path: int(path.name.removeprefix("copy-")))
        return sum(len(names) for _, _, names in os.walk(newest))


TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in (Datapin(), Dvc(), GitLfs(), Restic(), Tar(), Floor(), Copy())}


def _start_repository(place: Place) -> None:
    place.call("git", "init", "-q")


def _commit_all(place: Place) -> None:
    place.call("git", "add", "-A")
    place.call("git", "commit", "-qm", "set up", "--allow-empty")
