"""The guide to texts is a session: its commands run in order and print what it says; then a model is trained."""

from __future__ import annotations

import json

from clones import Clone
from guides import GUIDES, session

# Made for this test; whoever wants may use them.
GOOD = ["fine", "lovely", "great", "a joy", "splendid", "warm", "well made", "worth it"]
BAD = ["poor", "broken", "dull", "a waste", "awful", "cold", "badly made", "overpriced"]
THINGS = ["book", "film", "lamp", "tent", "chair", "kettle"]


def test_the_guide_to_texts_prints_what_it_says(repo: Clone) -> None:
    number = 0
    for label, words in (("good", GOOD), ("bad", BAD)):
        (repo.path / "reviews" / label).mkdir(parents=True)
        for place, word in enumerate(words):
            for thing in THINGS[place % 2 :: 4]:
                number += 1
                text = f"This {thing} is {word}, and I say so as number {number * 37}."
                (repo.path / "reviews" / label / f"{number:02d}.txt").write_text(text)
    (repo.path / ".gitignore").write_text("/reviews\n")
    guide = (GUIDES / "text.md").read_text(encoding="utf-8")
    assert session(repo, guide) == guide
    repo.datapin("run", "train", "-q")
    metrics = json.loads((repo.path / "reports" / "metrics.json").read_text())
    assert min(metrics[split]["accuracy"] for split in ("val", "test")) > 0.5, metrics
