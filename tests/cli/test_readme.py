"""The README is a promise: every console command in it runs, in order, in a user's own new repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from clones import BIN, ENVIRONMENT, Clone

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", README, re.S)


def digits(folder: Path, per_class: int = 12) -> None:
    """A folder of real images, one sub-folder per class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    seen = [0] * 10
    for number, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        if seen[label] < per_class or number in (11, 42):
            seen[label] += 1
            Image.fromarray((pixels * 15.9375).astype("uint8")).save(folder / str(label) / f"{number:04d}.png")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    path = tmp_path_factory.mktemp("user") / "project"
    path.mkdir()
    digits(path / "photos")
    (path / "photos" / "1").joinpath("0042.png").touch()
    (path / "photos" / "1" / "0042.png").write_bytes(next((path / "photos" / "1").glob("0*.png")).read_bytes() + b"x")
    (path / ".gitignore").write_text("/photos\n/out\n/before\n")
    return Clone(path)


def test_every_command_of_the_readme_runs_in_order(user: Clone) -> None:
    ran = []
    for kind, block in BLOCKS:
        if kind == "python":
            subprocess.run([BIN / "python", "-c", block], cwd=user.path, env=ENVIRONMENT, check=True)
            continue
        for line in block.strip().splitlines():
            assert line.startswith("$ "), f"not a command: {line}"
            words = line[2:]
            ended = subprocess.run(words, shell=True, cwd=user.path, env=ENVIRONMENT, capture_output=True, text=True)
            assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
            ran.append(words)
    assert len(ran) > 20
    assert (user.path / "models" / "model.skops").is_file()
    assert (user.path / "reports" / "run.json").is_file()


def test_every_path_the_readme_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_number_of_speed_comes_from_the_bench() -> None:
    table = README.split("<!-- bench:table -->")[1].split("<!-- /bench:table -->")[0].strip()
    results = (ROOT / "bench" / "results" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) > 4
    assert all(row in results for row in rows)
