"""The figures of a run that a person wants first."""

from __future__ import annotations

from rich.table import Table

from twin.summary import Summary


def overview(summary: Summary) -> Table:
    """As a table; `-` where a figure is not known."""
    table = Table(
        title=f"{summary.site}: {summary.slots} slots, {summary.mechanism}", show_header=False, title_justify="left"
    )
    cost, money = summary.cost, summary.currency
    told, sent, plans = summary.telemetry, summary.setpoints, summary.plans
    rows = [
        ("site cost", _amount(cost.actual, money)),
        ("  no control", _amount(cost.no_control, money)),
        ("  rule selfuse", _amount(cost.selfuse, money)),
        ("  rule tou_night", _amount(cost.tou_night, money)),
        ("  perfect foresight (bound)", _amount(cost.perfect_foresight, money)),
        ("captured saving", _percent(summary.captured)),
        ("readings", f"{told.received} received, {told.lost} lost, {told.missing} missing"),
        ("setpoints", f"{sent.sent} sent, {sent.verified} verified, {sent.diverged} diverged"),
        ("plans", f"{plans.intraday} windows, {plans.kept} kept"),
        ("certified gap", _gaps(summary)),
        ("ledger", f"{summary.ledger.entries} entries, {'verified' if summary.ledger.verified else 'DOES NOT VERIFY'}"),
        ("wall time", f"{summary.wall_s:.1f} s"),
        ("memory", f"service {summary.load.service_mb:.0f} MB, solver {summary.load.worker_mb:.0f} MB"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _gaps(summary: Summary) -> str:
    """A few windows with wide gaps are no fault of a day: the median comes first."""
    worst = f"worst {_percent(summary.plans.max_gap)}"
    if summary.gaps is None:
        return worst
    return f"median {_percent(summary.gaps.median)}, within 1%: {_percent(summary.gaps.within_1pct)}, {worst}"


def _amount(value: float | None, currency: str) -> str:
    return "-" if value is None else f"{value:.2f} {currency}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
