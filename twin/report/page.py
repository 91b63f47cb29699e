"""The page: header, cards, figures, tables, notes, in one HTML text that fetches nothing."""

from __future__ import annotations

from html import escape

from twin.report import forecast, market, power
from twin.report.cards import cards
from twin.report.document import document, items
from twin.report.notes import events_table, honesty, ledger_text, made_of, parts_table
from twin.report.plot import Plot, placed
from twin.report.sources import Sources

PLOTS = (
    Plot(
        "balance",
        "Power balance",
        "Above zero what feeds the site's bus, below zero what takes from it. “Other load” is what the homes use "
        "besides the devices shown: it closes the balance with the grid meter.",
        power.balance,
        "wide",
    ),
    Plot("charge", "State of charge", "Each home's battery, as it reports it.", power.charge),
    Plot(
        "tracking",
        "Plan against measured",
        "The plan orders how energy is to be used and what it is worth; the fast loop follows the meter, so the "
        "measured power may leave the planned one on purpose.",
        power.tracking,
    ),
    Plot(
        "forecast",
        "Expected against measured",
        "Demand and PV of each home, forecast from the past alone: for the slot about to begin, and at the gate of the "
        "day-ahead plan. A limit in force hides what PV could have done.",
        forecast.forecast,
    ),
    Plot(
        "prices",
        "Prices",
        "Market prices of the site, and between them the prices announced to the homes.",
        market.prices,
    ),
    Plot(
        "solves",
        "Certified gap and solve time",
        "How far each solve can be from the best possible at most, and what it took on this machine.",
        market.solves,
    ),
    Plot(
        "costs",
        "Cost of the same day, operated differently",
        "All computed from the same demand, weather and prices by one cost function.",
        market.costs,
        after=parts_table,
    ),
    Plot(
        "payments",
        "Payments",
        "Settled from meter counters; all parties together sum to zero.",
        market.payments,
    ),
    Plot(
        "grid",
        "Power at the grid meter",
        "This run beside no control, the two rules and perfect foresight. Entries of the legend can be clicked.",
        power.grid,
        "wide",
    ),
    Plot("setpoints", "Setpoints", "How the orders that reached each device's wire ended.", market.setpoints),
)


def page(found: Sources) -> str:
    """The whole document. Raises nothing for missing parts: each says that it is missing."""
    sections, drawn = placed(PLOTS, found)
    title = f"{found.data.site or found.summary.get('site') or found.name}: run report"
    body = (
        f'{_header(found)}<main><div class="cards">{"".join(card.html() for card in cards(found))}</div>'
        f'<div class="grid">{sections}{_text_sections(found)}</div></main>'
        "<footer>Made by vpptwin from the run folder alone. This file is complete and fetches nothing.</footer>"
    )
    return document(title, body, drawn)


def _header(found: Sources) -> str:
    span, summary = found.span, found.summary
    site = str(found.data.site or summary.get("site") or found.name)
    when = (
        f"{span.local(span.start_us)[:16]} to {span.local(span.end_us)[:16]}, {span.axis_title}" if span.slots else ""
    )
    facts = [("mechanism", "mechanism"), ("clock", "clock"), ("seed", "seed"), ("slots", "slots")]
    chips = [f"{words} {summary[key]}" for key, words in facts if key in summary]
    chips += [f"{len(found.data.devices)} devices"] if found.data.devices else []
    if isinstance(summary.get("wall_s"), int | float):
        chips.append(f"ran in {summary['wall_s']:.0f} s")
    return (
        f'<header><h1>Virtual power plant “{escape(site)}”</h1><p class="sub">{escape(when)}</p>'
        f'<ul class="chips">{items(chips)}</ul>{_banner(found)}</header>'
    )


def _banner(found: Sources) -> str:
    """What the reader must know before the numbers: a stop, a clock change, missing parts."""
    lines = []
    if found.summary.get("stopped"):
        lines.append("This run was stopped before its end; all figures cover what was done until then.")
    if found.span.clock_change:
        lines.append(found.span.clock_change)
    lines += [f"Missing: {line}" for line in found.missing]
    return f'<div class="banner">Please note<ul>{items(lines)}</ul></div>' if lines else ""


def _text_sections(found: Sources) -> str:
    assumptions = items(found.data.assumptions) or "<li>None recorded.</li>"
    return (
        f'<section><h2>Events</h2><p class="caption">Faults, gaps and recoveries.</p>{events_table(found)}</section>'
        f'<section><h2>Assumptions</h2><p class="caption">What no measurement says and the site file sets.</p>'
        f'<ul class="notes">{assumptions}</ul></section>'
        f'<section><h2>What these numbers are</h2><p class="caption">Where they come from and what they are not.</p>'
        f'<ul class="notes">{items(honesty(found))}</ul></section>'
        f'<section class="wide"><h2>Ledger</h2>{ledger_text(found)}{made_of(found)}</section>'
    )
