"""The manual pages are the commands' own help, and they and the guide come with the wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from clones import ENVIRONMENT
from datapin.cli.main import VERBS

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "man" / "man1"


def test_the_manual_pages_are_written_from_the_help(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "man" / "write.py", tmp_path], check=True)
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.1")}
    assert set(written) == {"datapin.1", "git-datapin.1", *(f"datapin-{verb}.1" for verb in VERBS)}
    kept = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.1")}
    assert kept == written, "`make man` writes the pages again"


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed here")
def test_man_shows_the_pages() -> None:
    for page in sorted(PAGES.glob("*.1")):
        shown = subprocess.run(
            ["man", "--warnings", "-M", str(ROOT / "docs" / "man"), page.stem],
            env={**ENVIRONMENT, "LC_ALL": "C.UTF-8", "MANWIDTH": "120"}, capture_output=True, text=True,
        )  # fmt: skip
        assert (shown.returncode, shown.stderr) == (0, ""), page.name
        assert "datapin" in shown.stdout


def test_the_wheel_holds_the_manual_and_the_guide(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("datapin-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (data,) = (tmp_path / "site").glob("datapin-*.data")
    assert {path.name for path in PAGES.glob("*.1")} == {path.name for path in (data / "data/share/man/man1").iterdir()}
    code = "from datapin.cli.shell import guide_pages as g; print(g.__file__, *g.page_names()); "
    code += "print(g.page_text('format#keys'))"
    env = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path / "site")}
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    first, text = said.stdout.split("\n", 1)
    assert first.startswith(str(tmp_path / "site"))
    assert {"guide", "format", "checks", "command-line", "remotes"} <= set(first.split())
    assert text.startswith("## Keys")
