"""reproduction.html: every claim with its verdict, what came out, and a figure for each table of the study."""

from __future__ import annotations

from html import escape

from twin.report.document import document, items
from twin.report.plot import Plot, placed
from twin.report.style import BAD, GOOD, LOAD
from twin.reproduction import figures
from twin.reproduction.checks import Reproduction, words

COLOURS = {"holds": GOOD, "fails": BAD, "incomparable": LOAD}


PLOTS = (
    Plot("schemes", "Schemes over the day", "Without penalties for leaving the plan.", figures.schemes),
    Plot("prices", "Internal prices at point 74 (figure 10)", "One external price scaled at a time.", figures.prices),
    Plot("noise", "Spread of internal prices against noise (figure 11)", "Sale less purchase price.", figures.noise),
    Plot("algorithms", "Profit against calls (table 3)", "A point for each window.", figures.algorithms),
    Plot("sizes", "Seconds of a window against prosumers (table 4)", "On this machine.", figures.sizes),
)


def page(found: Reproduction) -> str:
    """The whole document."""
    sections, drawn = placed(PLOTS, found)
    counts = {status: sum(check.status == status for check in found.checks) for status in COLOURS}
    chips = items(f"{count} {status}" for status, count in counts.items())
    title = f"{found.mechanism}: claims of paper {found.paper}"
    body = (
        f'<header><h1>{escape(title)}</h1><ul class="chips">{chips}</ul></header>'
        f'<main><div class="grid">{_claims(found)}{sections}</div></main>'
        "<footer>Made by vpptwin reproduce. This file is complete and fetches nothing.</footer>"
    )
    return document(title, body, drawn)


def _claims(found: Reproduction) -> str:
    rows = "".join(
        f'<tr><td style="color:{COLOURS[check.status]};font-weight:650;white-space:nowrap">{check.status}</td>'
        f"<td>{escape(check.claim)}</td><td>{escape(words(check.ours))}</td><td>{escape(check.note)}</td></tr>"
        for check in found.checks
    )
    widths = {"": "", "claim": "36%", "ours": "30%", "note": "24%"}
    head = "".join(f'<th style="width:{width}">{name}</th>' for name, width in widths.items())
    return (
        '<section class="wide"><h2>Claims</h2><p class="caption">Incomparable: the text at hand lacks the figures.</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>"
    )
