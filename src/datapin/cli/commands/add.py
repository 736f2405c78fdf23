"""`datapin add`."""

from __future__ import annotations

import shlex
import sys

import click

from datapin.cli.options import common_options, jobs_option, open_repo, pairs
from datapin.cli.render import counted, emit_json, findings, size


class _Label(click.Choice[str]):
    """Offers its words; the name of a column is as good."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is."""
        return value


@click.command("add")
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.option("--to", "dataset", required=True, metavar="DATASET", help="The dataset, for example data/raw.")
@click.option(
    "--label", type=_Label(["parent", "none"]), metavar="[parent|none|COL]", default="none", show_default=True,
    help="parent: the label of a row without one is its file's folder. With --rows: the column of labels.",
)  # fmt: skip
@click.option(
    "--split", type=click.Choice(["first-folder", "none"]), default="none", show_default=True,
    help="first-folder: trees like train/cat/1.png; the first folder is the split.",
)  # fmt: skip
@click.option(
    "--metadata", metavar="FILE", help="CSV, JSON or Parquet with a column key (or file_name) and more columns."
)
@click.option(
    "--csv-delimiter", metavar="CHAR", help="What separates its cells (default: , ; tab or |, as its header shows)."
)
@click.option(
    "--csv-encoding", metavar="NAME", help="Its encoding, for example cp1252 (default: UTF-8, or as its mark says)."
)
@click.option("--key-column", "--key", metavar="COL", help="Its column of names, if that is not key or file_name.")
@click.option("--rows", is_flag=True, help="SRC are tables like FILE above: add their rows, not the files.")
@click.option("--asset-column", metavar="COL", help="With --rows: what becomes the asset, in place of all cells.")
@click.option(
    "--types", multiple=True, metavar="COL=TYPE", help="The type of a column: text, int, double, bool, date, …"
)
@click.option("--rename", "renames", multiple=True, metavar="OLD=NEW", help="Another name for a column.")
@click.option("--mirror", is_flag=True, help="Also drop rows whose file is gone.")
@click.option("--again", is_flag=True, help="Rows that were removed come back, if their file is there.")
@click.option("-y", "--yes", is_flag=True, help="Let --mirror drop more than half of the rows.")
@click.option("--strict", is_flag=True, help="Refuse what would otherwise be a warning.")
@jobs_option
@common_options
def command(
    sources: tuple[str, ...],
    dataset: str,
    label: str,
    split: str,
    metadata: str | None,
    csv_delimiter: str | None,
    csv_encoding: str | None,
    key_column: str | None,
    rows: bool,
    asset_column: str | None,
    types: tuple[str, ...],
    renames: tuple[str, ...],
    mirror: bool,
    strict: bool,
    again: bool,
    yes: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Add files and folders to a dataset.

    A row's key is its file's path below SRC, or below the folder around it that was added before. Rows with the same
    key are updated; nothing changes if anything fails.
    """
    kinds, names = pairs("--types", types), pairs("--rename", renames)
    is_asked = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    report = open_repo(as_json=as_json, quiet=quiet, jobs=jobs).add(
        sources, to=dataset, label=label, split=split, metadata=metadata, mirror=mirror, strict=strict, again=again,
        yes=yes, csv_delimiter=csv_delimiter, csv_encoding=csv_encoding, key_column=key_column, rows=rows,
        asset_column=asset_column, types=kinds, renames=names, confirm=_ask if is_asked else None,
    )  # fmt: skip
    if as_json:
        emit_json(report)
        return
    findings(report.findings)
    if not quiet:
        click.echo(
            f"{report.dataset}: {report.added} added, {report.changed} changed, {report.removed} removed, "
            f"{report.unchanged} unchanged; {counted(report.rows, 'row')}, {counted(report.new_assets, 'new asset')} "
            f"({size(report.new_bytes)})"
        )
        click.echo(f"digest {report.digest}")
        if report.added or report.changed or report.removed:
            click.echo(f'next: git add {shlex.quote(report.dataset + ".dvc")} && git commit -m "data: …"')


def _ask(what: str) -> bool:
    return click.confirm(f"{what}. Drop them?", err=True)
