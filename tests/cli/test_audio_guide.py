"""The guide to recordings is a session: its commands run in order and print what it says; then a model is trained."""

from __future__ import annotations

import json

from clones import Clone
from guides import GUIDES, session
from vowels import write_vowels


def test_the_guide_to_recordings_prints_what_it_says(repo: Clone) -> None:
    write_vowels(repo.path / "vowels")
    (repo.path / ".gitignore").write_text("/vowels\n")
    guide = (GUIDES / "audio.md").read_text(encoding="utf-8")
    assert session(repo, guide) == guide
    repo.datapin("run", "train", "-q")
    metrics = json.loads((repo.path / "reports" / "metrics.json").read_text())
    assert min(metrics[split]["accuracy"] for split in ("val", "test")) > 0.5, metrics
