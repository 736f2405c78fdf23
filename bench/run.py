"""Measure datapin beside DVC, git-lfs, restic and raw tools, and write the results.

    python bench/run.py [--size full|small] [--only ITEM]... [--rounds N] [--results DIR] [--work DIR] [--render-only]

`full` writes to bench/results and takes about half an hour on two cores; `small` shows in a minute that all of it runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from arena import open_arena
from items import ITEMS as LOCAL_ITEMS
from items import Bench
from machine import describe_machine
from readings import result_document
from remote_items import REMOTE_ITEMS
from render import write_page
from sizes import SIZES
from version_items import VERSION_ITEMS

HERE = Path(__file__).resolve().parent
ITEMS = {**LOCAL_ITEMS, **REMOTE_ITEMS, **VERSION_ITEMS}


def main(arguments: list[str]) -> int:
    """Run the chosen items and render the page; exit 1 if datapin failed at one of them."""
    options = _parse(arguments)
    size = SIZES[options.size]
    if options.rounds is not None:
        size = replace(size, rounds=options.rounds)
    results = options.results or (HERE / "results" if size.name == "full" else options.work / "results-small")
    results.mkdir(parents=True, exist_ok=True)
    failed = False
    if not options.render_only:
        with open_arena(options.work, size.arena_bytes) as arena:
            _say(f"{size.name} size on {arena.description}")
            machine = describe_machine(arena.description)
            bench = Bench(options.work, arena, size, _say)
            for item in options.only or list(ITEMS):
                began = time.monotonic()
                _say(item)
                document = result_document(item, asdict(size), machine, ITEMS[item](bench))
                text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
                (results / f"{item}.json").write_text(text, encoding="utf-8")
                failed = failed or "datapin" in document["failures"]  # type: ignore[operator]
                _say(f"  took {time.monotonic() - began:.0f} s")
        for kept in options.work.glob("source-*"):
            shutil.rmtree(kept)
    _say(f"see {write_page(results)}")
    return int(failed)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="full")
    parser.add_argument("--only", choices=list(ITEMS), action="append", help="may be given more than once")
    parser.add_argument("--rounds", type=int, help="how often each tool has its turn")
    parser.add_argument("--results", type=Path, help="folder for the results")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "datapin-bench", help="scratch folder"
    )
    parser.add_argument(
        "--render-only", action="store_true", help="only render the page from the results that are there"
    )
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
