"""`datapin hook`: what Git's hooks call. Not listed by `--help`."""

from __future__ import annotations

import click

from datapin.cli.bars import terminal_progress
from datapin.plumbing import run_hook


@click.command("hook", hidden=True)
@click.argument(
    "hook", type=click.Choice(["post-checkout", "post-index-change", "post-merge", "post-rewrite", "pre-push"])
)
@click.argument("words", nargs=-1, metavar="[WORDS OF GIT]")
def command(hook: str, words: tuple[str, ...]) -> None:
    """Run datapin's part of a Git hook."""
    run_hook(hook, words, terminal_progress(quiet=False))
