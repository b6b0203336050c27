"""Small pieces of the page: numbers in words, tables that scroll sideways, figures that follow the colour scheme."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

NOTHING = "–"


def number(value: float | None, digits: int = 4) -> str:
    """A plain figure; a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A signed share, in colour."""
    if value is None:
        return NOTHING
    kind = "good" if value > 0 else "bad" if value < 0 else ""
    shown = f"{value:+,.0%}" if abs(value) >= 10 else f"{value:+.{digits}%}"
    return f'<span class="{kind}">{shown}</span>'


def share(value: float, digits: int = 0) -> str:
    """A share without a sign."""
    return f"{value:.{digits}%}"


def day(seconds: int) -> str:
    """The UTC date of unix seconds."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], lead: int | None = None) -> str:
    """Cells are HTML already; `lead` is the row that stands out."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = []
    for at, row in enumerate(rows):
        mark = ' class="lead"' if at == lead else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def figure(name: str, caption: str, pictures: Mapping[str, bytes]) -> str:
    """Both versions inside the page, so that it is one file."""
    light, dark = (base64.b64encode(pictures[f"{name}{suffix}"]).decode() for suffix in ("", "-dark"))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}">'
        f'<img src="data:image/png;base64,{light}" alt="{escape(caption)}" loading="lazy"></picture>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def listed(items: Sequence[str], kind: str = "") -> str:
    """A list of plain texts."""
    return f'<ul class="{kind}">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'


def words(text: str) -> str:
    """A cell of text that may break."""
    return f'<span class="words">{escape(text)}</span>'
