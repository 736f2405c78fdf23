"""The wheel works in somebody else's repository: it has all that the package needs, and its commands.

It is installed without its dependencies beside the ones that are here, since they are the lock's. That pip finds them
by itself and fast is `make resolve`; that they are all named, tests/shape/test_dependencies.py.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

from clones import ENVIRONMENT, Clone, write_images

ROOT = Path(__file__).parents[2]


def install(wheel: Path, place: Path) -> Path:
    """A new environment with the wheel in it; the folder of its commands."""
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    (own,) = place.glob("lib/python*/site-packages")
    # Only a path: what is installed there for editing is not followed, so datapin is the wheel's.
    (own / "pinned.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    subprocess.run([*pip, "check"], check=True, capture_output=True)
    dvc = place / "bin" / "dvc"
    dvc.write_text(f'#!/bin/sh\nexec {python} -m dvc "$@"\n')
    dvc.chmod(0o755)
    return place / "bin"


def test_the_wheel_works_in_a_clean_environment(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("datapin-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("datapin/")}
    modules = (path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    written = {path.relative_to(ROOT / "src").as_posix() for path in modules}
    pages = {f"datapin/{path.relative_to(ROOT)}" for path in (ROOT / "docs").rglob("*.md") if "guide" in path.parts}
    assert packed == written | pages | {"datapin/docs/checks.md", "datapin/docs/format.md"}
    binaries = install(wheel, tmp_path / "venv")
    theirs = Clone(tmp_path / "theirs")
    theirs.path.mkdir()
    path = f"{binaries}:{ENVIRONMENT['PATH'].split(':', 1)[1]}"

    def run(*words: str) -> str:
        return theirs.run(*words, PATH=path).stdout

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("git", "datapin", "init", "--template", "image")
    write_images(theirs.path / "img")
    run("datapin", "add", "img", "--to", "data/raw", "--label", "parent")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "v1")
    run("dvc", "status", "-q", "data/raw.dvc")
    code = "import datapin; d = datapin.open('data/raw'); print(datapin.__file__, len(d), len(d[0].read()))"
    where, rows, size = run(str(binaries / "python"), "-c", code).split()
    assert where.startswith(str(tmp_path / "venv"))
    assert (rows, size) == ("12", "100")
