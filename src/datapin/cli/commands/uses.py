"""`datapin uses`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import click

from datapin.cli.options import common_options, open_repo
from datapin.cli.render import emit_json, printable

if TYPE_CHECKING:
    from datapin.verbs.lineage.uses import CommitFacts, UsesReport

_LISTED_ROWS = 5


@click.command("uses")
@click.argument("selector", metavar="ASSET|DATASET:KEY")
@common_options
def command(selector: str, as_json: bool, quiet: bool) -> None:
    """Show which versions, splits and models used an asset.

    ASSET is its id, or the first 8 digits or more; DATASET may be DATASET@VERSION.
    """
    report = open_repo(as_json=as_json, quiet=quiet).uses(selector)
    if as_json:
        emit_json(dataclasses.asdict(report))
    else:
        _print(report)


def _print(report: UsesReport) -> None:
    click.echo(f"asset {report.asset_id}")
    if report.derived:
        click.echo(f"{len(report.derived)} asset(s) made from it: {', '.join(one[:12] for one in report.derived[:8])}")
    for use in report.versions:
        click.echo(f"dataset {printable(use.dataset)} {(use.digest or '')[7:19]}  {_commit(use.made_by)}")
        for row in use.rows[:_LISTED_ROWS]:
            words = [row.split or "", f"label {row.label}" if row.label is not None else ""]
            how = "made from it" if row.derived else ""
            click.echo(f"    {printable('  '.join(word for word in (row.key, *words, how) if word))}")
        if len(use.rows) > _LISTED_ROWS:
            splits = Counter(row.split or "no split" for row in use.rows)
            counted = ", ".join(f"{name} {count}" for name, count in sorted(splits.items()))
            click.echo(f"    … {len(use.rows)} rows in all: {printable(counted)}")
    for out in report.outputs:
        rows = f" ({', '.join(out.splits)})" if out.splits else ""
        made = f"{(out.md5 or '')[:12]}  by {out.stage} from {out.dataset}{rows}"
        click.echo(f"output {printable(f'{out.path} {made}')}  {_commit(out.made_by)}")
    if not report.versions:
        click.echo("no dataset version in Git's history has it")
    for line in report.unread:
        click.echo(f"not looked at: {printable(line)}", err=True)


def _commit(facts: CommitFacts | None) -> str:
    if facts is None:
        return "not committed yet"
    return printable(f"{facts.commit[:9]} {facts.date[:10]} {facts.author}: {facts.subject}")
