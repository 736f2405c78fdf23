"""The guides to merges and to branches are sessions: their commands run in order and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

from guides import GUIDES, session
from teams import Team, make_team


def ann_works(team: Team) -> None:
    """On main: two labels and two rows. On review: two labels that Bob will give otherwise, a row of his edited."""
    ann = team.ann
    ann.label("cat", "key IN ('a/00.bin', 'a/01.bin')")
    ann.add("more")
    ann.commit("two cats, two more")
    ann.git("push", "-q")
    ann.git("checkout", "-q", "-b", "review", "v1")
    ann.label("cat", "key IN ('a/02.bin', 'a/03.bin')")
    ann.label("owl", "key = 'b/00.bin'")
    ann.commit("review")
    ann.git("push", "-q", "origin", "review")


def bob_reviews(team: Team) -> None:
    """What lies between the first part of the guide and the second."""
    team.bob.label("dog", "key IN ('a/02.bin', 'a/03.bin')")
    team.bob.commit("dogs")
    team.bob.git("fetch", "-q")


def merge_session(team: Team, text: str) -> str:
    ann_works(team)
    first, heading, second = text.partition("## Conflicts")
    done = session(team.bob, first)
    bob_reviews(team)
    return done + heading + session(team.bob, second)


def switch_session(team: Team, text: str) -> str:
    team.ann.add("more")
    team.ann.commit("two more")
    team.ann.git("tag", "v2")
    return session(team.ann, text)


def normal(text: str) -> list[str]:
    text = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)
    return re.sub(r"[0-9a-f]{9}  \d{4}-\d\d-\d\d", "COMMIT  DATE", text).splitlines()


def test_the_guide_to_merges_prints_what_it_says(blank: Path, tmp_path: Path) -> None:
    guide = (GUIDES / "merge.md").read_text(encoding="utf-8")
    assert normal(merge_session(make_team(blank, tmp_path / "team"), guide)) == normal(guide)


def test_the_guide_to_branches_prints_what_it_says(blank: Path, tmp_path: Path) -> None:
    guide = (GUIDES / "switching.md").read_text(encoding="utf-8")
    assert normal(switch_session(make_team(blank, tmp_path / "team"), guide)) == normal(guide)
