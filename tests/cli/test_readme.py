"""The README is a promise: every console command in it runs, in order, in a user's own new repository."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

import datapin
from clones import Clone
from datapin.checks.register import choose

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", README, re.S)
COMMANDS = ("datapin", "dvc", "git", "python3", "echo", "cat")
CLASSES = ("Ant", "bee", "cat")
MOST_ROWS = 15


def photos(folder: Path, per_class: int = 14) -> None:
    """A folder of pictures that have nothing to do with this repository's, one sub-folder per class."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(5)
    for number, label in enumerate(CLASSES):
        (folder / label).mkdir(parents=True)
        for place in range(per_class):
            pixels = random.integers(0, 120, (16, 16)) + 45 * number
            Image.fromarray(pixels.astype("uint8")).save(folder / label / f"IMG {place}.png")
    Image.new("1", (8, 8)).save(folder / "bee" / "tiny.png")


def script() -> str:
    """Everything that the README tells to do, as one session of a shell."""
    lines = ["set -e"]
    for kind, block in BLOCKS:
        if kind == "python":
            name = re.match(r"# (\S+\.py)\n", block)
            target = f"cat > {name[1]}" if name else "python3 -"
            lines.append(f"{target} <<'END_OF_BLOCK'\n{block}END_OF_BLOCK")
            continue
        for line in block.strip().splitlines():
            assert line.startswith("$ "), f"not a command: {line}"
            lines += [f": 'README: {line[2:].translate({39: None})}'", line[2:]]
    return "\n".join(lines) + "\n"


def test_every_command_of_the_readme_runs_in_order(tmp_path: Path) -> None:
    user = Clone(tmp_path / "project")
    user.path.mkdir()
    photos(user.path / "photos")
    said = user.run("bash", "-x", "-c", script()).stdout
    assert (user.path / "models/model.skops").is_file()
    assert datapin.load_model(user.path / "models/mine.skops").n_features_in_ > 1
    assert (tmp_path / "colleague/models/model.skops").is_file()
    assert "1 removed" in said or "removed 1" in said, said
    tracked = user.git("log", "--format=", "--name-only").split("\n")
    assert not [path for path in tracked if path.startswith(("photos/", "out/", "before/"))]
    assert {"reports/run.json", "reports/environment.json", "data/raw.dvc"} <= set(tracked)


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
def test_zsh_hands_the_commands_the_same_words_as_bash(tmp_path: Path) -> None:
    # What differs between shells is what they make of ~, @, ^, quotes and globs before a command sees it.
    says = "".join(f"{name}() {{ printf '<%s>' {name} \"$@\"; printf '\\n'; }}\n" for name in COMMANDS)
    words = [Clone(tmp_path).run(shell, "-c", says + script()).stdout for shell in ("bash", "zsh")]
    assert words[0].count("<datapin>") > words[0].count("<dvc>") > 5
    assert words[0] == words[1]


def test_the_readme_names_no_row_of_this_repository_and_each_kind_of_command() -> None:
    text = script()
    assert not re.search(r"\d+\.png", text)
    for words in (
        "dvc push",
        "datapin push",
        "datapin doctor",
        "datapin rollback",
        "datapin verify --repro",
        "train.py",
    ):
        assert words in text, words
    # What bash or zsh would expand has to be quoted, or written as @-N.
    assert not re.search(r"^[^'\"]*(?:\s|@)~\d", text, re.M)


def test_every_path_the_readme_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_verdict_that_the_readme_shows_has_the_checks_that_there_are() -> None:
    counts = Counter(check.group for check in choose((), remote=False, deep=False, repro=True))
    shown = {group: int(count) for group, count in re.findall(r"^(\w+) +(\d+) checks  ok$", README, re.M)}
    assert shown == counts
    assert f"ok ({sum(shown.values())} checks of 4 datasets" in README


def test_every_number_of_speed_comes_from_the_bench() -> None:
    table = README.split("<!-- bench:table -->")[1].split("<!-- /bench:table -->")[0].strip()
    results = (ROOT / "bench" / "results" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert 4 < len(rows) - 2 <= MOST_ROWS
    assert all(row in results for row in rows)
