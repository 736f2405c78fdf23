"""Results as people read them: `README.md` with the tables, `speed.png` with the bars."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from readings import COUNT
from sizes import SIZES
from targets import TARGETS, Rule, Verdict, judge, show_value

Document = Mapping[str, Any]

PAGE = "README.md"
PLOT = "speed.png"
TOOL_ORDER = ("datapin", "dvc", "git-lfs", "restic", "tar", "floor", "cp", "s5cmd", "boto3", "files", "lmdb", "python")
COLOURS = {
    "datapin": "#1b6ca8",
    "dvc": "#d1603d",
    "git-lfs": "#8f8f8f",
    "restic": "#6a9a58",
    "tar": "#c9b458",
    "floor": "#e3d9a0",
    "cp": "#c9b458",
    "s5cmd": "#c9b458",
}
ITEM_TITLES = {
    "startup": "Start-up (`--help`)",
    "small-files": "Many small files",
    "unchanged": "Many small files, none changed",
    "big-files": "Few big files",
    "memory": "Peak memory, small files",
    "rows": "Rows alone (manifest, synthetic)",
    "reads": "Random reads of 10 KiB, one process",
    "loader": "Random batches of 10 KiB, PyTorch's DataLoader with two workers",
    "million": "A dataset of very many tiny files",
    "s3": "To S3 and back (Ceph radosgw on this machine), many small files",
    "directory": "To a directory remote and back, many small files",
    "remote-memory": "Peak memory beside S3, many small files",
    "lazy": "Random reads of 10 KiB from S3",
    "versions": "Two versions, 3 % apart",
    "history": "A long history: 1,000 commits, 100 versions of 100,000 rows",
    "million-versions": "Versions of a million rows, 1,000 changed",
}
FULL = asdict(SIZES["full"])
PLOTTED = {
    "small-files": ("add", "add 3 % changed", "add 3 % changed + commit"),
    "unchanged": ("add again", "status"),
    "big-files": ("add", "add one changed"),
    "s3": ("push", "push again", "fetch", "fetch + files", "one folder of 100", "push 3 % changed"),
    "directory": ("push", "push again", "fetch + files"),
    "versions": ("diff", "rollback", "rollback with files", "switch"),
}


def read_results(folder: Path) -> dict[str, Document]:
    """The result documents of a folder by item, in the order of the page."""
    return {
        item: json.loads((folder / f"{item}.json").read_text(encoding="utf-8"))
        for item in ITEM_TITLES
        if (folder / f"{item}.json").is_file()
    }


def write_page(folder: Path) -> Path:
    """Render `README.md` and `speed.png` from every result that lies in `folder`."""
    results = read_results(folder)
    plotted = write_plot(folder / PLOT, results)
    page = folder / PAGE
    page.write_text(page_text(results, plotted=plotted), encoding="utf-8")
    return page


def page_text(results: Mapping[str, Document], *, plotted: bool) -> str:
    """The whole page as Markdown."""
    parts = ["# Bench results\n", _preface(results), "## Targets\n", targets_table(results)]
    if plotted:
        parts.append(f"![Seconds per step and tool, logarithmic]({PLOT})\n")
    for item, document in results.items():
        parts += [f"## {ITEM_TITLES[item]}\n", _how_much(document), item_table(document), _failure_notes(document)]
    return "\n".join(part for part in parts if part)


def targets_table(results: Mapping[str, Document]) -> str:
    """Item, datapin, the other tool, ratio, target, met: one line per target."""
    medians = {item: document["medians"] for item, document in results.items()}
    lines = ["| what | datapin | compared with | ratio | target | met |", "|---|---|---|---|---|---|"]
    for target in TARGETS:
        verdict = judge(target, medians)
        document = results.get(target.item)
        lines.append(_target_line(verdict, document))
    return "\n".join(lines) + "\n"


def item_table(document: Document) -> str:
    """One line per step, one column per tool; the range of all readings in brackets."""
    tools = _tools(document)
    steps = list(dict.fromkeys(step for run in document["runs"] for step in run["steps"]))
    lines = [f"| | {' | '.join(tools)} |", "|---" * (len(tools) + 1) + "|"]
    for step in steps:
        cells = []
        for tool in tools:
            median = document["medians"].get(tool, {}).get(step)
            cells.append(_cell(median) if median else "failed" if tool in document["failures"] else "–")
        lines.append(f"| {step} | {' | '.join(cells)} |")
    if not steps:
        lines.append(f"| every step | {' | '.join('failed' for _ in tools)} |")
    return "\n".join(lines) + "\n"


def write_plot(path: Path, results: Mapping[str, Document]) -> bool:
    """Bars of seconds by step and tool on a logarithmic axis; False if no result can be drawn."""
    shown = {item: results[item] for item in PLOTTED if item in results and results[item]["medians"]}
    if not shown:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(shown), figsize=(6.5 * len(shown), 4.6), squeeze=False, layout="constrained")
    for axis, (item, document) in zip(axes[0], shown.items(), strict=True):
        _draw(axis, document, PLOTTED[item])
        axis.set_title(f"{ITEM_TITLES[item]} ({_what(document)})", fontsize=10)
    axes[0][0].set_ylabel("seconds until durable, logarithmic")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return True


def _draw(axis: Any, document: Document, steps: Sequence[str]) -> None:
    tools = _tools(document)
    width = 0.8 / len(tools)
    for number, tool in enumerate(tools):
        medians = document["medians"].get(tool, {})
        places = [i for i, step in enumerate(steps) if step in medians]
        values = [medians[steps[i]]["value"] for i in places]
        lows = [medians[steps[i]]["value"] - medians[steps[i]]["low"] for i in places]
        highs = [medians[steps[i]]["high"] - medians[steps[i]]["value"] for i in places]
        shifted = [i + (number - (len(tools) - 1) / 2) * width for i in places]
        bars = axis.bar(
            shifted,
            values,
            width,
            yerr=(lows, highs),
            label=tool,
            color=COLOURS.get(tool),
            error_kw={"elinewidth": 0.8},
        )
        axis.bar_label(bars, [show_value(value, "s") for value in values], fontsize=6, rotation=90, padding=3)
    axis.set_yscale("log")
    axis.margins(y=0.25)
    axis.set_xticks(range(len(steps)), [step.replace(" changed", "\nchanged") for step in steps], fontsize=8)
    axis.grid(axis="y", linewidth=0.3)
    axis.legend(fontsize=8)


def _preface(results: Mapping[str, Document]) -> str:
    if not results:
        return "Nothing was measured yet: `python bench/run.py`.\n"
    machine = next(iter(results.values()))["machine"]
    tools = ", ".join(f"{name}: {version}" for name, version in machine["tools"].items())
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return (
        f"Measured on {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {machine['kernel']}; "
        f"{machine['file_system']}. Load before: {machine['load_before']}.\n\n"
        f"Python {machine['python']}; {tools}; {libraries}.\n\n"
        "Seconds are *durable* time: wall time plus a sync of the file system right after, since datapin fsyncs what "
        "it writes and the others mostly do not. Page cache warm, tools taking turns round by round, medians with the "
        "range of all readings in brackets. Quote the ratios; absolute figures depend on the machine.\n"
    )


def _how_much(document: Document) -> str:
    size = document["size"]
    return f"{_what(document)}; rounds: {size['rounds']}, quick steps repeated {size['repeats']} × in each.\n"


def _what(document: Document) -> str:
    size = document["size"]
    return {
        "startup": "10 rounds of wall time",
        "small-files": f"{size['small_files']:,} files of 2–20 KiB",
        "unchanged": f"{size['small_files']:,} files of 2–20 KiB, added before",
        "big-files": f"{size['big_files']} files of {size['big_mib']} MiB",
        "memory": f"{size['small_files']:,} files of 2–20 KiB, sum over all processes",
        "rows": f"{size['rows']:,} rows",
        "reads": f"{size['even_files']:,} assets",
        "loader": f"{size['even_files']:,} assets, batches of 64, rates of the second to fourth epoch",
        "million": f"{size['tiny_files']:,} files of 64–256 bytes",
        "s3": f"{size['small_files']:,} files of 2–20 KiB; DVC one round",
        "directory": f"{size['small_files']:,} files of 2–20 KiB; DVC one round",
        "remote-memory": f"{size['small_files']:,} files of 2–20 KiB, sum over all processes",
        "lazy": f"5,000 of {size['even_files']:,} assets",
        "versions": f"{size['small_files']:,} files of 2–20 KiB",
        "history": "rows only, without assets",
        "million-versions": f"{size['tiny_files']:,} files of 64–256 bytes",
    }[document["item"]]


def _tools(document: Document) -> list[str]:
    seen = {run["tool"] for run in document["runs"]}
    return sorted(seen, key=lambda tool: (TOOL_ORDER.index(tool) if tool in TOOL_ORDER else len(TOOL_ORDER), tool))


def _cell(median: Mapping[str, Any]) -> str:
    shown = show_value(median["value"], median["unit"])
    if median["readings"] == 1:
        return shown
    low, high = show_value(median["low"], median["unit"]), show_value(median["high"], median["unit"])
    return shown if low == high else f"**{shown}** ({low} – {high})"


def _target_line(verdict: Verdict, document: Document | None) -> str:
    target = verdict.target
    if target.rule is Rule.TIMES_FASTER:
        better = "fewer" if target.unit == COUNT else "faster"
        wanted = f"at least {target.limit:g} × {better}" if target.limit > 1 else better
    elif target.rule is Rule.TIMES_THE_RATE:
        wanted = f"at least {target.limit:g} × its rate"
    elif target.rule is Rule.TIMES_AS_LONG:
        wanted = f"at most {target.limit:g} × its time"
    else:
        wanted = f"{target.rule.value} {show_value(target.limit, target.unit)}"
    title = target.title.format_map(document["size"] if document else FULL)
    compared = f"{target.against} {show_value(verdict.other, target.unit)}" if target.against else ""
    ratio = f"{verdict.ratio:.2f} ×" if verdict.ratio is not None else ""
    measured = show_value(verdict.measured, target.unit)
    return f"| {title} | {measured} | {compared} | {ratio} | {wanted} | {_met(verdict, document)} |"


def _met(verdict: Verdict, document: Document | None) -> str:
    if verdict.met is not None:
        return "yes" if verdict.met else "**no**"
    failed = [tool for tool in ("datapin", verdict.target.against) if document and tool in document["failures"]]
    return f"{' and '.join(failed)} failed, see below" if failed else "not measured"


def _failure_notes(document: Document) -> str:
    return "\n".join(f"- {tool} failed: {_escaped(message)}" for tool, message in document["failures"].items()) + (
        "\n" if document["failures"] else ""
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
