"""The guide to `verify` is a session: its commands run in order and print what it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from clones import ENVIRONMENT
from datapin.checks.waivers import FILE
from teams import Team, make_team

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "verify.md"


def session(team: Team, text: str) -> str:
    """The text with what its commands really print; a block of waivers is put where it belongs."""

    def ran(block: re.Match[str]) -> str:
        if block[1] == "toml":
            (team.ann.path / FILE).write_text(block[2])
            return block[0]
        said = ""
        for line in (line for line in block[2].splitlines() if line.startswith("$ ")):
            ended = subprocess.run(
                line[2:], shell=True, cwd=team.ann.path, env=ENVIRONMENT, capture_output=True, text=True
            )
            said += f"{line}\n{ended.stdout}{ended.stderr}"
        return f"```console\n{said.replace(str(team.top), '/srv')}```"

    return re.sub(r"```(console|toml)\n(.*?)```", ran, text, flags=re.S)


def normal(text: str) -> list[str]:
    """Without what differs from run to run: hashes, times, and how many checks there are by now."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)
    text = re.sub(r"\([0-9a-f]{7}\)", "(COMMIT)", text)
    text = re.sub(r"packs/[0-9a-f]{2}/", "packs/AA/", text)
    text = re.sub(r"\b\d+ checks?", "N checks", text)
    return re.sub(r" +", " ", re.sub(r"\d+\.\d s", "T s", text)).splitlines()


def test_the_guide_to_verify_prints_what_it_says(blank: Path, tmp_path: Path) -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    team = make_team(blank, tmp_path / "team")
    team.ann.datapin("push", "-q")
    done = session(team, guide)
    assert normal(done) == normal(guide)
