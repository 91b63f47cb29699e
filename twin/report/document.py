"""The frame of a page: one HTML text with style, figures and script in it, that fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files

import msgspec

from twin.report.figure import Figure
from twin.report.style import CSS, SCRIPT


def document(title: str, body: str, figures: Mapping[str, Figure]) -> str:
    """The whole document. `body` is markup with a place (`section`) for each of the figures."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The page is a document to keep: the browser itself refuses anything that would be fetched.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data: blob:\">"
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>{body}"
        f"<script>{_plotly()}</script>"
        f'<script type="application/json" id="figures">{_json(figures)}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def section(id: str, title: str, caption: str, figure: Figure | None, shape: str = "", after: str = "") -> str:
    """A figure's place on the page, with a selector where it has views; `after` is markup under it."""
    choice = ""
    if figure is not None and len(figure.views) > 1:
        options = "".join(
            f'<option value="{k}">{escape(view["label"])}</option>' for k, view in enumerate(figure.views)
        )
        choice = f'<select data-figure="{id}" aria-label="{escape(title)}: which">{options}</select>'
    room = f' style="min-height:{figure.height_px}px"' if figure is not None and figure.height_px else ""
    body = f'<div class="plot" id="{id}"{room}></div>'
    if figure is None:
        body = '<div class="absent">Nothing to draw: this run has no data for it.</div>'
    return (
        f'<section class="{shape}"><div class="head"><h2>{escape(title)}</h2>{choice}</div>'
        f'<p class="caption">{escape(caption)}</p>{body}{after}</section>'
    )


def items(lines: Iterable[str]) -> str:
    """List items."""
    return "".join(f"<li>{escape(line)}</li>" for line in lines)


def _json(figures: Mapping[str, Figure]) -> str:
    """Safe inside a script element: no `<` survives."""
    return msgspec.json.encode(figures).decode().replace("<", "\\u003c")


def _plotly() -> str:
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
