"""A user's repository: real Git, real DVC, the real command line in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import warm
from datapin.base.state import state_of

BIN = Path(sys.executable).parent
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("DATAPIN_", "DVC_", "GIT_"))},
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.com",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
}
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})

Ended = subprocess.CompletedProcess[str]


@dataclass
class Clone:
    """One checkout and the commands that run in it."""

    path: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return ENVIRONMENT

    def run(
        self,
        *words: str | Path,
        code: int | None = 0,
        cwd: Path | None = None,
        env: Mapping[str, str] = NOTHING_MORE,
        **variables: str,
    ) -> Ended:
        """Run a command; `code` None accepts any exit code. A traceback always fails the test.

        `env` and `variables` stand in its environment beside its own; a mapping goes in as `env`.
        """
        given, folder = [str(word) for word in words], cwd or self.path
        environment = {**self.environment, **env, **variables}
        if given[0] in ("datapin", "dvc"):
            given[0] = str(BIN / given[0])
        if warm.can_run(Path(given[0]), environment):
            ended = warm.run(given, folder, environment)
        else:
            ended = subprocess.run(given, cwd=folder, env=environment, capture_output=True, text=True)
        if code is not None:
            assert ended.returncode == code, f"{words}: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        assert "Traceback (most recent call last)" not in ended.stdout + ended.stderr, ended.stderr
        return ended

    def datapin(
        self,
        *words: str | Path,
        code: int | None = 0,
        cwd: Path | None = None,
        env: Mapping[str, str] = NOTHING_MORE,
        **variables: str,
    ) -> Ended:
        return self.run(BIN / "datapin", *words, code=code, cwd=cwd, env={**env, **variables})

    def json(self, *words: str | Path, code: int = 0, **variables: str) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.datapin(*words, "--json", code=code, env=variables).stdout)

    def dvc(self, *words: str | Path, code: int | None = 0) -> Ended:
        return self.run(BIN / "dvc", *words, code=code)

    def git(self, *words: str | Path, code: int | None = 0) -> str:
        return self.run("git", *words, code=code).stdout

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", message, "--allow-empty")
        return self.git("rev-parse", "HEAD").strip()

    def refusal(self, *words: str | Path, code: int) -> tuple[str, str]:
        """Run a command that must fail with `code`: the one line of the error, and the hint."""
        ended = self.datapin(*words, code=code)
        lines = ended.stderr.strip().splitlines()
        assert lines, "a failure says why"
        assert lines[-2 if len(lines) > 1 else 0].startswith("error: "), ended.stderr
        document = json.loads(self.datapin(*words, "--json", code=code).stdout)
        assert set(document) == {"error"}
        assert {"kind", "message", "hint"} <= set(document["error"])
        return lines[-2 if len(lines) > 1 else 0].removeprefix("error: "), lines[-1].removeprefix("hint:  ")

    def lose_cache(self) -> None:
        """Take away DVC's cache and our copy of the manifests in it, as on another machine."""
        for place in (self.path / ".dvc" / "cache", state_of(self.path).objects):
            shutil.rmtree(place, ignore_errors=True)

    def files(self, *below: str) -> dict[str, bytes]:
        """Every file under a folder, for before-and-after comparisons."""
        top = self.path.joinpath(*below)
        return {p.relative_to(top).as_posix(): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}


def write_images(folder: Path, per_class: int = 6, classes: str = "ab") -> None:
    """Small files in class folders, each with its own bytes, kept out of Git."""
    for label in classes:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            (folder / label / f"{number:02d}.bin").write_bytes(f"{label}{number}".encode() * 50)
    ignore = folder.parent / ".gitignore"
    lines = ignore.read_text() if ignore.exists() else ""
    if f"/{folder.name}\n" not in lines:
        ignore.write_text(f"{lines}/{folder.name}\n")
