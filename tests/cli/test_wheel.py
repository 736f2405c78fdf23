"""The wheel installs with pip alone into a clean environment and works in somebody else's repository."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from clones import ENVIRONMENT, Clone, write_images

ROOT = Path(__file__).parents[2]


def test_the_wheel_works_in_a_clean_environment(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("datapin-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    locked = ["--constraint", str(constraints(tmp_path))]
    subprocess.run([binaries / "pip", "install", "-q", *locked, str(wheel)], check=True, capture_output=True)
    subprocess.run([binaries / "pip", "check"], check=True, capture_output=True)
    theirs = Clone(tmp_path / "theirs")
    theirs.path.mkdir()
    path = f"{binaries}:{ENVIRONMENT['PATH'].split(':', 1)[1]}"

    def run(*words: str) -> str:
        return theirs.run(*words, PATH=path).stdout

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("git", "datapin", "init")
    write_images(theirs.path / "img")
    run("datapin", "add", "img", "--to", "data/raw", "--label", "parent")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "v1")
    run("dvc", "status", "-q")
    code = "import datapin; d = datapin.open('data/raw'); print(datapin.__file__, len(d), len(d[0].read()))"
    where, rows, size = run(str(binaries / "python"), "-c", code).split()
    assert where.startswith(str(tmp_path / "venv"))
    assert (rows, size) == ("12", "100")


def constraints(folder: Path) -> Path:
    """The lock's versions without hashes: the same resolve as everywhere, installed by plain pip."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.split(" \\")[0] for line in lines if line and line[0].isalnum()]
    path = folder / "constraints.txt"
    path.write_text("\n".join(pins) + "\n")
    return path
