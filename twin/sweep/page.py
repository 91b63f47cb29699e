"""sweep.html: what was swept, the table of each setting, figures, and how to read them."""

from __future__ import annotations

from html import escape

from twin.report.document import document, items
from twin.report.plot import Plot, placed
from twin.sweep import figures
from twin.sweep.result import SweepResult
from twin.sweep.table import AGAINST_HEADINGS, HEADINGS, against, better, lines, regret_words

PLOTS = (
    Plot(
        "captured",
        "Captured saving",
        "Of the saving that perfect foresight makes against no control. Bar: all days together. Dot: median of days; "
        "dash: 10th percentile of days.",
        figures.captured,
        "wide",
    ),
    Plot(
        "differences",
        "Paired daily differences",
        "On the same days and seeds, with 95 % intervals by 3-day block bootstrap. Green: cheaper, the interval lies "
        "below zero; red: dearer; grey: not known.",
        figures.differences,
    ),
    Plot(
        "regret",
        "Where twostage loses against foresight",
        "The parts add up to the whole, on the seeds that all four policies were computed for.",
        figures.regret,
    ),
    Plot(
        "days",
        "Day by day",
        "Cost above foresight's on the same day. Energy moved between days makes single days go below zero.",
        figures.days,
        "wide",
    ),
)


def page(found: SweepResult) -> str:
    """The whole document."""
    sections, drawn = placed(PLOTS, found)
    tables = "".join(_table(found, str(setting["name"])) for setting in found.settings)
    notes = f'<section class="wide"><h2>How to read this</h2><ul class="notes">{items(found.notes)}</ul></section>'
    body = (
        f'{_header(found)}<main><div class="grid">{sections}{tables}{notes}</div></main>'
        "<footer>Made by vpptwin from the cells of the sweep. This file is complete and fetches nothing.</footer>"
    )
    return document(f"{found.site}: sweep", body, drawn)


def _header(found: SweepResult) -> str:
    spans = ", ".join(f"{span.start} ({span.days} days)" for span in found.spans)
    chips = [f"{found.days} measured days", f"seeds {', '.join(map(str, found.seeds))}", f"{found.cells} cells"]
    chips += [_setting_words(setting) for setting in found.settings]
    missing = ""
    if found.failures:
        missing = f'<div class="banner">Not computed<ul>{items(found.failures)}</ul></div>'
    return (
        f'<header><h1>Decision quality on “{escape(found.site)}”</h1><p class="sub">{escape(spans)}</p>'
        f'<ul class="chips">{items(chips)}</ul>{missing}</header>'
    )


def _setting_words(setting: dict[str, object]) -> str:
    if "prices" in setting:
        return f"{setting['name']}: prices of {setting['prices']}"
    if "import_max_w" in setting:
        return f"{setting['name']}: {setting['excess_per_kwh']} per kWh above {setting['import_max_w']} W"
    return f"{setting['name']}: the site's tariff"


def _table(found: SweepResult, setting: str) -> str:
    differences, cheaper = against(found, setting), better(found, setting)
    rows = "".join(
        _row([*line, *differences[line[0]], ", ".join(cheaper[line[0]])], "td") for line in lines(found, setting)
    )
    head = _row([*HEADINGS, *AGAINST_HEADINGS, "better than"], "th")
    caption = escape(f"Costs in {found.currency} per day, mean of the measured days. {regret_words(found, setting)}")
    return (
        f'<section class="wide"><h2>Setting {escape(setting)}</h2><p class="caption">{caption}</p>'
        f"<table><thead>{head}</thead><tbody>{rows}</tbody></table></section>"
    )


def _row(cells: list[str], tag: str) -> str:
    """Numbers to the right: all cells but the first two and the last."""
    kinds = [*[' style="white-space:nowrap"'] * 2, *[" class=n"] * (len(cells) - 3), ""]
    marked = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
    return f"<tr>{''.join(marked)}</tr>"
