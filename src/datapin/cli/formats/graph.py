"""A trace as text, or as a picture in Mermaid or DOT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datapin.cli.render import counted, printable, size

if TYPE_CHECKING:
    from datapin.verbs.lineage.trace import TraceNode, TraceReport

FORMATS = ("text", "json", "mermaid", "dot")

_SHAPES = {  # Mermaid's brackets, DOT's shape
    "output": ("([", "])", "box3d"),
    "stage": ("[[", "]]", "component"),
    "dataset": ("[(", ")]", "cylinder"),
    "code": ("[", "]", "note"),
    "source": ("[/", "/]", "folder"),
}
_LISTED_ROWS = 50


def text(report: TraceReport) -> str:
    """From the file down to its sources, each thing once, indented below what was made from it."""
    lines: list[str] = []
    nodes = {node.id: node for node in report.nodes}
    _descend(report.nodes[0], nodes, 0, lines, set())
    where = f"commit {report.commit[:12]}" if report.commit else "no commit yet"
    lines.append(f"{where}{', with changes that are not committed' if report.dirty else ''}")
    if report.rows:
        lines += ["", "key  asset  from"]
        for row in report.rows[:_LISTED_ROWS]:
            came = "no parent in any input"
            if row.source is not None:
                came = f"{row.source}:{row.source_key}  {(row.source_asset_id or '')[:12]}"
            lines.append(f"{row.key}  {row.asset_id[:12]}  {came}")
        if len(report.rows) > _LISTED_ROWS:
            lines.append(f"… and {len(report.rows) - _LISTED_ROWS} more; --json lists all")
    return "\n".join(printable(line) for line in lines)


def mermaid(report: TraceReport) -> str:
    """A Mermaid flowchart, as GitHub and GitLab draw it in Markdown; arrows go from data to model."""
    names = {node.id: f"n{number}" for number, node in enumerate(report.nodes)}
    lines = ["flowchart LR"]
    for node in report.nodes:
        opened, closed, _ = _SHAPES[node.kind]
        lines.append(f'  {names[node.id]}{opened}"{"<br/>".join(map(_mermaid, _title(node)))}"{closed}')
    for node in report.nodes:
        lines += [f"  {names[above]} --> {names[node.id]}" for above in node.made_from]
    return "\n".join(lines)


def dot(report: TraceReport) -> str:
    """A digraph for Graphviz; arrows go from data to model."""
    names = {node.id: f"n{number}" for number, node in enumerate(report.nodes)}
    lines = ["digraph trace {", "  rankdir=LR;"]
    for node in report.nodes:
        label = "\\n".join(map(_dot, _title(node)))
        lines.append(f'  {names[node.id]} [shape={_SHAPES[node.kind][2]}, label="{label}"];')
    for node in report.nodes:
        lines += [f"  {names[above]} -> {names[node.id]};" for above in node.made_from]
    return "\n".join([*lines, "}"])


def _descend(node: TraceNode, nodes: dict[str, TraceNode], depth: int, lines: list[str], shown: set[str]) -> None:
    indent = "  " * depth
    lines.append(f"{indent}{node.kind} {node.name}{'' if node.id not in shown else '  (see above)'}")
    if node.id in shown:
        return
    shown.add(node.id)
    lines += [f"{indent}    {line}" for line in _facts(node)]
    for below in node.made_from:
        _descend(nodes[below], nodes, depth + 1, lines, shown)


def _facts(node: TraceNode) -> list[str]:
    facts = node.facts
    if node.kind == "dataset":
        lines = [f"digest {(facts['digest'] or 'unknown')[:19]}"]
        if facts["problem"]:
            lines.append(facts["problem"])
        elif facts["rows"] is not None:
            splits = "".join(f", {name or 'no split'} {count}" for name, count in facts["splits"].items())
            rows = f"{counted(facts['rows'], 'row')} of {counted(facts['assets'], 'asset')}"
            lines.append(f"{rows}, {size(facts['bytes'])}{splits}")
        if facts["since"]:
            since = facts["since"]
            lines.append(f"since {since['commit'][:9]} {since['date'][:10]} {since['author']}: {since['subject']}")
        return lines
    if node.kind == "stage":
        lines = [f"runs {facts['command']}"] if facts["command"] else []
        params = {key: one for file, value in facts["params"].items() for key, one in _sections(file, value).items()}
        lines += [f"{name}: {_short(value)}" for name, value in _flat(params)]
        run = facts["run"]
        if run is not None:
            figures = [(name, value) for name, value in _flat(run["metrics"]) if not isinstance(value, list)]
            scores = ", ".join(f"{name} {_short(value)}" for name, value in figures[:8])
            lines.append(f"run: seed {run['seed']}{', ' + scores if scores else ''}")
        return lines
    if node.kind == "output":
        lines = [f"sha256 {facts['sha256'][:12]}"] if facts["sha256"] else []
        return [*lines, f"md5 {facts['md5'][:12]}, {size(facts['bytes'] or 0)}"] if facts["md5"] else lines
    return [f"md5 {facts['md5'][:12]}"] if facts.get("md5") else []


def _title(node: TraceNode) -> list[str]:
    facts = node.facts
    if node.kind == "dataset":
        rows = "" if facts["rows"] is None else f"{counted(facts['rows'], 'row')}, "
        return [node.name, f"{rows}{(facts['digest'] or 'sha256:unknown')[7:19]}"]
    if node.kind == "output" and (facts["sha256"] or facts["md5"]):
        return [node.name, (facts["sha256"] or facts["md5"])[:12]]
    return [node.name]


def _sections(file: str, params: Any) -> dict[str, Any]:
    # The usual file goes without saying.
    return params if file == "params.yaml" and isinstance(params, dict) else {file: params}


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(name, value)]
    return [pair for key, one in value.items() for pair in _flat(one, f"{name}.{key}" if name else str(key))]


def _short(value: Any) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


def _mermaid(line: str) -> str:
    # Mermaid takes HTML in labels and ends them at quotes: whatever is not plain becomes its code.
    return "".join(ch if ch.isalnum() or ch in " ._-/,:~@…" else f"#{ord(ch)};" for ch in printable(line))


def _dot(line: str) -> str:
    return printable(line).replace("\\", "\\\\").replace('"', '\\"')
