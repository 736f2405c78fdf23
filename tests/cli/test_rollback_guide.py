"""The guide to rollbacks is a session: its commands run in order and print what it says, but for hashes and times."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from clones import ENVIRONMENT, Clone, write_images

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "rollback.md").read_text(encoding="utf-8")
PIPELINE = """\
stages:
  copy:
    cmd: rm -rf data/copy && cp -r data/raw data/copy && cat params.yaml data/raw/* > model.bin
    deps: [data/raw]
    params: [size]
    outs: [data/copy, model.bin]
"""


def two_versions(clone: Clone) -> None:
    """v1: 12 rows of the classes a and b. v2: class c, without two rows, one label changed; checked out into `out`."""
    (clone.path / "dvc.yaml").write_text(PIPELINE)
    (clone.path / "params.yaml").write_text("size: 1\n")
    write_images(clone.path / "img")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.dvc("repro", "-q")
    clone.commit("v1")
    clone.git("tag", "v1")
    write_images(clone.path / "new", per_class=3, classes="c")
    clone.datapin("add", "new", "--to", "data/raw", "--label", "parent", "-q")
    clone.datapin("remove", "data/raw", "--where", "key IN ('a/00.bin', 'a/01.bin')", "-q")
    clone.datapin("update", "data/raw", "--set", "label='dog'", "--where", "key = 'b/00.bin'", "-q")
    clone.dvc("repro", "-q")
    with (clone.path / ".gitignore").open("a") as ignored:
        ignored.write("/out\n")
    clone.commit("v2")
    clone.git("tag", "v2")
    clone.datapin("checkout", "data/raw", "--into", "out", "-q")


def session(clone: Clone) -> str:
    """The guide with what its commands really print."""

    def ran(block: re.Match[str]) -> str:
        said = ""
        for line in (line for line in block[1].splitlines() if line.startswith("$ ")):
            ended = subprocess.run(
                line[2:], shell=True, cwd=clone.path, env=ENVIRONMENT, capture_output=True, text=True
            )
            said += f"{line}\n{ended.stdout}{ended.stderr}"
        return f"```console\n{said}```"

    return re.sub(r"```console\n(.*?)```", ran, GUIDE, flags=re.S)


def normal(text: str) -> list[str]:
    text = re.sub(r"sha256:[0-9a-f]{12}", "sha256:DIGEST", text)
    return re.sub(r"\d{8}-\d{6}", "TIME", text).splitlines()


def test_the_guide_prints_what_it_says(repo: Clone) -> None:
    two_versions(repo)
    assert normal(session(repo)) == normal(GUIDE)
