"""Texts and tables of the report: parts of the costs, events, honesty notes, ledger, what the run was made of."""

from __future__ import annotations

from html import escape

from twin.report import style
from twin.report.cards import money
from twin.report.market import cases_of
from twin.report.sources import Sources

_PARTS = {
    "import": "import",
    "export": "export",
    "fuel": "fuel",
    "wear": "wear",
    "comfort": "comfort",
    "end_soc": "stored energy",
}
_MOST_EVENTS = 200


def parts_table(found: Sources) -> str:
    """What each cost is made of."""
    cases = [case for case in cases_of(found) if case.parts]
    names = [name for name in _PARTS if any(case.parts.get(name) for case in cases)]
    if not names:
        return ""
    head = "".join(f'<th class="n">{_PARTS[name]}</th>' for name in names)
    rows = ""
    for case in cases:
        cells = "".join(f'<td class="n">{case.parts.get(name, 0.0):,.2f}</td>' for name in names)
        mark = ' class="us"' if case.name == "actual" else ""
        words = escape(style.CASES[case.name][0])
        rows += f'<tr{mark}><td>{words}</td>{cells}<td class="n">{money(case.total)}</td></tr>'
    return (
        f'<div class="scroll"><table><tr><th>{escape(found.currency)}</th>{head}<th class="n">total</th></tr>'
        f"{rows}</table></div>"
    )


def events_table(found: Sources) -> str:
    """The events, warnings and errors first cut last."""
    if not found.events:
        return '<div class="absent">No events were recorded.</div>'
    rows = "".join(
        f'<tr><td class="n">{found.span.local(event.ts_us)[5:16]}</td>'
        f'<td><span class="level {event.level}">{event.level}</span></td>'
        f"<td>{escape(event.where)}</td><td>{escape(event.what)}</td></tr>"
        for event in found.events[:_MOST_EVENTS]
    )
    rest = len(found.events) - _MOST_EVENTS
    more = f"<p class='caption'>{rest} more are in telemetry.db, table event.</p>" if rest > 0 else ""
    return f'<div class="scroll"><table>{rows}</table></div>{more}'


def honesty(found: Sources) -> list[str]:
    """What the reader must not take these numbers for."""
    curves, step = found.curves, found.span.step_s
    lines = list(found.data.notes)
    if curves.power_kw:
        words = "minute" if step == 60 else f"{step // 60} minutes"
        lines.append(
            f"Curves are means over {'a ' * (step == 60)}{words} of the readings in telemetry.db; "
            "a sample stands for the time before it."
        )
    if curves.absent:
        lines.append(
            f"Grey bands: no reading from at least one of {', '.join(curves.absent)}; it counts as 0 in the stacked "
            "picture there, and in nothing else."
        )
    lines.append("“Perfect foresight” is a bound: the same devices with the day known before. Nobody can reach it.")
    lines.append("One run says little about the next day; “better” wants many days and an interval.")
    return lines


def ledger_text(found: Sources) -> str:
    """The root and how anyone checks it."""
    ledger = found.summary.get("ledger")
    if not isinstance(ledger, dict) or not ledger.get("root"):
        return '<div class="absent">No sealed ledger in this run.</div>'
    test = any(note.startswith("Test keys") for note in found.data.notes)
    keys = "Test keys: proves integrity, not identity." if test else ""
    state = "it verified when the run ended" if ledger.get("verified") else "it did NOT verify when the run ended"
    return (
        f'<p class="caption">Root over {int(ledger.get("entries") or 0):,} entries; {state}. {keys}</p>'
        f'<code class="root">{escape(str(ledger["root"]))}</code>'
        "<p>Check it yourself, in the folder that holds the run: <code>vpptwin ledger verify "
        f"{escape(found.name)}</code>. It recomputes every hash, proof, sum and metering leaf from the files; "
        "exit status 0 means that all agree, 1 that something was changed.</p>"
    )


def made_of(found: Sources) -> str:
    """Manifest: what is needed to repeat the run."""
    if not found.manifest:
        return ""
    rows = ""
    for key in ("version", "commit", "python", "processor", "blas"):
        if found.manifest.get(key):
            rows += f"<tr><td>{key}</td><td>{escape(str(found.manifest[key]))}</td></tr>"
    for key in ("inputs", "builds", "options"):
        for name, value in sorted((found.manifest.get(key) or {}).items()):
            rows += f"<tr><td>{key} · {escape(str(name))}</td><td><code>{escape(str(value))}</code></td></tr>"
    return (
        "<details><summary>What this run was made of (manifest.json; repeat it with <code>vpptwin rerun "
        f"{escape(found.name)}</code>)</summary><div class='scroll'><table>{rows}</table></div></details>"
    )
