"""The parts of the page as HTML. Everything that comes from rows passes through `safe` on its way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from datapin.verbs.history.page.counts import CountBar, Histogram, Move
from datapin.verbs.history.page.pictures import Picture

_MOST_CHARACTERS = 240
_BAR_UNITS = 1000
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def safe(value: object) -> str:
    """A value as text of the page: markup escaped, control and direction marks shown as escapes, long text cut."""
    text = "none" if value is None else str(value)
    cut = text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
    shown = "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in cut)
    return escape(shown, quote=True)


def size_text(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def count_text(count: int) -> str:
    """A number with its thousands apart."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def tile(kind: str, sign: str, count: int) -> str:
    """One of the headline's counts."""
    return f'<li class="{kind}"><b>{sign}{count_text(count)}</b> <span>{kind}</span></li>'


def histogram_section(title: str, histogram: Histogram) -> str:
    """Bars per value, before above after."""
    most = max((max(bar.before, bar.after) for bar in histogram.bars), default=0) or 1
    rows = "".join(_histogram_row(bar, most) for bar in histogram.bars)
    rest = ""
    if histogram.left_out:
        shown, whole = len(histogram.bars), len(histogram.bars) + histogram.left_out
        rest = f"<p class=quiet>{shown} of {count_text(whole)} values: those whose count changed most.</p>"
    keys = "<span class=was-key></span>before <span class=now-key></span>after"
    head = f"<thead><tr><th>value<th>{keys}<th class=number>rows<th></tr>"
    return _section(title, f"<table class=bars>{head}</thead><tbody>{rows}</tbody></table>{rest}")


def _histogram_row(bar: CountBar, most: int) -> str:
    change = bar.after - bar.before
    delta = f'<td class="delta {"up" if change > 0 else "down"}">{change:+,}' if change else "<td>"
    numbers = count_text(bar.after) if not change else f"{count_text(bar.before)} → {count_text(bar.after)}"
    return f"<tr><th scope=row>{safe(bar.name)}<td>{_pair(bar, most)}<td class=number>{numbers}{delta}</tr>"


def _pair(bar: CountBar, most: int) -> str:
    was, now = (round(_BAR_UNITS * count / most) for count in (bar.before, bar.after))
    label = f"{bar.before} before, {bar.after} after"
    return (
        f'<svg viewBox="0 0 {_BAR_UNITS} 20" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<rect class="was" width="{was}" height="9"/><rect class="now" y="11" width="{now}" height="9"/></svg>'
    )


def columns_section(columns: Sequence[tuple[str, int]]) -> str:
    """In how many changed rows each column differs."""
    most = max(count for _, count in columns)
    rows = "".join(
        f"<tr><th scope=row>{safe(name)}<td>{_single(count, most)}<td class=number>{count_text(count)}</tr>"
        for name, count in columns
    )
    head = "<thead><tr><th>column<th><th class=number>changed rows</tr></thead>"
    return _section("Columns that changed", f"<table class=bars>{head}<tbody>{rows}</tbody></table>")


def _single(count: int, most: int) -> str:
    return (
        f'<svg viewBox="0 0 {_BAR_UNITS} 9" preserveAspectRatio="none" role="img" aria-label="{count}">'
        f'<rect class="now" width="{max(1, round(_BAR_UNITS * count / most))}" height="9"/></svg>'
    )


def moves_section(title: str, found: Sequence[Move], most: int) -> str:
    """Which value became which."""
    rows = "".join(
        f"<tr><td>{chip('was', m.before)} → {chip('now', m.after)}<td class=number>{count_text(m.rows)}</tr>"
        for m in found[:most]
    )
    rest = f"<p class=quiet>{most} of {count_text(len(found))} kinds of change.</p>" if len(found) > most else ""
    head = "<thead><tr><th>before → after<th class=number>rows</tr></thead>"
    return _section(title, f"<table>{head}<tbody>{rows}</tbody></table>{rest}")


def rows_section(kind: str, title: str, cards: Iterable[str], shown: int, whole: int) -> str:
    """Rows of one kind of change; says how many are not shown."""
    rest = f" <small>the first {count_text(shown)} of {count_text(whole)}</small>" if shown < whole else ""
    small = f" <small>{count_text(whole)}</small>" if shown == whole else rest
    return f'<section class="rows {kind}"><h2>{title}{small}</h2><div class=cards>{"".join(cards)}</div></section>'


def card(key: str, pictures: Sequence[Picture], facts: Iterable[str]) -> str:
    """One row: what it looks like, before and after where that differs, and what is to say about it."""
    images = "<span class=arrow>→</span>".join(_picture(one) for one in pictures)
    kind = " pair" if len(pictures) > 1 else ""
    facts_list = "".join(f"<li>{fact}" for fact in facts)
    caption = f"<figcaption><bdi>{safe(key)}</bdi><ul>{facts_list}</ul></figcaption>"
    return f'<figure><div class="look{kind}">{images}</div>{caption}</figure>'


def _picture(picture: Picture) -> str:
    if picture.words:
        words = (f"<mark>{safe(text)}</mark>" if is_other else safe(text) for text, is_other in picture.words)
        return f"<p class=words>{''.join(words)}</p>"
    if picture.source:
        small = " class=small" if picture.is_small else ""
        image = f'<img{small} src="{picture.source}" alt="{safe(picture.note)}">'
        sound = f'<audio controls preload=metadata src="{picture.sound}"></audio>'
        return f"<span class=heard>{image}{sound}</span>" if picture.sound else image
    kind = "absent" if picture.is_absent else "other"
    return f'<span class="{kind}">{safe(picture.note)}</span>'


def fact(name: str, value: object) -> str:
    """A value of a row."""
    return f"<i>{safe(name)}</i> {chip('plain', value)}"


def change_fact(name: str, before: object, after: object) -> str:
    """A value before and after."""
    return f"<i>{safe(name)}</i> {chip('was', before)} → {chip('now', after)}"


def chip(kind: str, value: object) -> str:
    """A value as such."""
    return f'<bdi class="chip {kind}">{safe(value)}</bdi>'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{safe(title)}</h2>{body}</section>"
