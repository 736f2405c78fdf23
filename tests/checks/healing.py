"""`make hints`: after a fault was planted and seen, its finding's hint is run as printed, and the check asked again."""

from __future__ import annotations

import json
from pathlib import Path

from clones import Clone
from datapin.base.findings import Finding
from hints import follow, run_line

# What no command can end, and why; all other findings with a hint must end by running it.
NOT_BY_COMMAND = {
    "hygiene.labels-missing": "only the user knows the labels",
}


def unhealed(folder: Path, findings: list[Finding]) -> list[str]:
    """For each check with findings in the repository, what is left of them after their hints were run."""
    left = []
    for check in sorted({one.check for one in findings if one.check not in NOT_BY_COMMAND}):
        hints = dict.fromkeys(one.hint for one in findings if one.check == check)
        versions = [words for words in ([], ["HEAD"]) if _complaints(folder, check, words)]
        if not versions:
            left.append(f"{check}: does not complain when it is asked as a user would")
            continue

        def remaining(check: str = check, versions: list[list[str]] = versions) -> list[str]:
            if versions == [["HEAD"]]:
                Clone(folder).git("commit", "-qam", "healed", code=None)
            return [one for words in versions[:1] for one in _complaints(folder, check, words)]

        rest, tried = follow(hints, folder, remaining)
        if rest:
            left.append(f"{check}: {list(hints)}: after {tried} there is still {rest[:3]}")
    return left


def _complaints(folder: Path, check: str, words: list[str]) -> list[str]:
    line = " ".join(["datapin verify", *words, "--check", check, "--json"])
    _, text = run_line(line, folder)
    said = json.loads(text)
    if "error" in said:
        return [f"{said['error']['kind']}: {said['error']['message']}"]
    return [f"{one['severity']} {one['where']}: {one['message']}" for one in said["findings"] if one["check"] == check]
