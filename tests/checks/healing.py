"""`make hints`: after a fault was planted and seen, its finding's hint is run as printed, and the check asked again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from clones import Clone
from datapin.base.findings import Finding
from hints import follow, run_line

# What no command of ours can end, and why; the finding of any other check must end by running its hint.
BY_HAND = {
    "hygiene.ancestor-in-two-splits": "only the user can put what belongs together into a group before splits are made",
    "hygiene.class-index-changed": "the model is to be trained anew, which is the user's pipeline",
    "hygiene.class-set-changed": "only the user knows whether the change was meant",
    "hygiene.column-names": "only the user knows the right name",
    "hygiene.duplicate-keys": "only the user knows which file is to be renamed",
    "hygiene.label-drift": "only the user knows whether the change was meant",
    "hygiene.labels-missing": "only the user knows the labels",
    "hygiene.near-duplicates": "only the user can tell whether two pictures are one",
    "hygiene.placeholders": "only the user can bring the files that placeholders stand for",
    "hygiene.same-pixels": "only the user knows which of the two is to stay",
    "hygiene.split-drift": "only the user knows whether the change was meant",
    "hygiene.split-names": "only the user knows the right name",
    "pins.stale-params": "a parameter that is gone is to be written again by the user",
    "presence.remote": "somebody has to name or start the remote",
    "repro.outputs": "the user's stage is to be made deterministic",
    "repro.sample": "the user's stage is to be made deterministic",
}
# Looks, not cures.
_LOOKS = ("datapin help", "datapin diff", "datapin doctor", "datapin verify", "dvc remote list", "dvc config --list")
_PLACEHOLDER = re.compile(r"\s(NAME|URL|DATASET|COMMIT)\b")  # only the user knows it
_WORDS = ("delete ", "put the stage back", "write ", "list ", "take it out ")  # for what no command does


def unhealed(folder: Path, findings: list[Finding]) -> list[str]:
    """For each check with findings in the repository, what is left of them after their hints were run."""
    left = []
    for check in sorted({one.check for one in findings}):
        hints = list(dict.fromkeys(one.hint for one in findings if one.check == check))
        hints = [hint for hint in hints if hint and not hint.startswith(_WORDS)]
        commands = [command for hint in hints for command in re.findall(r"`([^`]+)`", hint)]
        is_a_look = commands and all(command.startswith(_LOOKS) or _PLACEHOLDER.search(command) for command in commands)
        if check in BY_HAND or not hints or is_a_look:
            continue
        wheres = {one.where for one in findings if one.check == check}
        versions = [words for words in ([], ["HEAD"]) if _complaints(folder, check, words, wheres)]
        if not versions:
            continue  # it was asked in another way than a user would: of a subject made by the test

        def remaining(
            check: str = check, version: Sequence[str] = tuple(versions[0]), wheres: set[str] = wheres
        ) -> list[str]:
            if version:
                Clone(folder).git("commit", "-qam", "healed", code=None)
            return _complaints(folder, check, version, wheres)

        rest, tried = follow(hints, folder, remaining)
        if rest:
            left.append(f"{check}: {hints}: after {tried} there is still {rest[:3]}")
    return left


def _complaints(folder: Path, check: str, words: Sequence[str], wheres: set[str]) -> list[str]:
    """What the check says of these places; what it says of others is another complaint, with a hint of its own."""
    line = " ".join(["datapin verify", *words, "--check", check, "--json"])
    _, text = run_line(line, folder)
    said = json.loads(text)
    if "error" in said:
        return [f"{said['error']['kind']}: {said['error']['message']}"]
    found = (one for one in said["findings"] if one["check"] == check and one["where"] in wheres)
    return [f"{one['severity']} {one['where']}: {one['message']}" for one in found]
