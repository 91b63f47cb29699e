"""The headline numbers on top of the page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from twin.report.market import cases_of
from twin.report.sources import Sources

WIDE_GAP = 0.05
"""A certified gap beyond this is marked."""


class Card(NamedTuple):
    """One number; `tone` is good, bad, warn or plain."""

    name: str
    value: str
    unit: str
    more: str
    tone: str

    def html(self) -> str:
        """The card as markup."""
        unit = f" <small>{escape(self.unit)}</small>" if self.unit else ""
        return (
            f'<div class="card {self.tone}"><div class="name">{escape(self.name)}</div>'
            f'<div class="value">{escape(self.value)}{unit}</div><div class="more">{escape(self.more)}</div></div>'
        )


def cards(found: Sources) -> list[Card]:
    """All cards; a number that is not known is a dash."""
    cost = {case.name: case.total for case in cases_of(found)}
    return [
        _site_cost(found, cost),
        _saving(found, cost),
        _captured(found),
        _rules(found, cost),
        _setpoints(_part(found, "setpoints")),
        _telemetry(_part(found, "telemetry")),
        _plans(_part(found, "plans")),
        _ledger(_part(found, "ledger")),
    ]


def money(value: float) -> str:
    """Two places, or four where that would hide what counts."""
    return f"{value:,.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:,.4f}"


def _part(found: Sources, name: str) -> Mapping[str, Any]:
    part = found.summary.get(name)
    return part if isinstance(part, dict) else {}


def _site_cost(found: Sources, cost: Mapping[str, float]) -> Card:
    if "actual" not in cost:
        return Card("Site cost", "–", "", "not computed", "plain")
    hours = (found.span.end_us - found.span.start_us) / 3.6e9
    return Card("Site cost", money(cost["actual"]), found.currency, f"whole site, {hours:g} h", "plain")


def _saving(found: Sources, cost: Mapping[str, float]) -> Card:
    if not {"actual", "no_control"} <= cost.keys():
        return Card("Saving against no control", "–", "", "not computed", "plain")
    saved = cost["no_control"] - cost["actual"]
    more = f"{money(abs(saved))} {_less(saved)} than {money(cost['no_control'])} {found.currency}"
    tone = "good" if saved > 0 else "bad"
    if abs(cost["no_control"]) < 0.01:
        return Card("Saving against no control", money(saved), found.currency, more, tone)
    return Card("Saving against no control", f"{100 * saved / abs(cost['no_control']):.1f}", "%", more, tone)


def _captured(found: Sources) -> Card:
    share = found.summary.get("captured")
    if not isinstance(share, int | float):
        why = "perfect foresight saves nothing here" if "captured" in found.summary else "not computed"
        return Card("Captured share", "–", "", why, "plain")
    more = "of what perfect foresight would save"
    return Card("Captured share", f"{100 * share:.1f}", "%", more, "good" if share >= 0.9 else "warn")


def _less(saved: float) -> str:
    return "less" if saved >= 0 else "more"


def _rules(found: Sources, cost: Mapping[str, float]) -> Card:
    rules = {name: cost[name] for name in ("selfuse", "tou_night") if name in cost}
    if not rules or "actual" not in cost:
        return Card("Against the best rule", "–", "", "not computed", "plain")
    best = min(rules, key=lambda name: rules[name])
    saved = rules[best] - cost["actual"]
    share = f"{100 * saved / abs(rules[best]):+.1f}" if abs(rules[best]) >= 0.01 else money(saved)
    more = f"{money(abs(saved))} {_less(saved)} than {money(rules[best])} {found.currency} of rule {best}"
    return Card("Saving against the best rule", share, "%", more, "good" if saved > 0 else "warn")


def _setpoints(part: Mapping[str, Any]) -> Card:
    if "sent" not in part:
        return Card("Setpoints verified", "–", "", "not counted", "plain")
    sent, verified = int(part["sent"]), int(part.get("verified") or 0)
    others = [
        f"{part[state]} {state}" for state in ("rejected", "expired", "diverged", "superseded") if part.get(state)
    ]
    following = part.get("following")
    more = ", ".join(others) or "none rejected, expired or diverged"
    if isinstance(following, int | float):
        more += f"; power followed {100 * following:.1f} %"
    wrong = sum(int(part.get(state) or 0) for state in ("rejected", "expired", "diverged"))
    return Card("Setpoints verified", f"{verified:,}", f"of {sent:,}", more, "warn" if wrong else "good")


def _telemetry(part: Mapping[str, Any]) -> Card:
    if "lost" not in part:
        return Card("Telemetry lost", "–", "", "not counted", "plain")
    lost, missing = int(part["lost"]), int(part.get("missing") or 0)
    more = f"{int(part.get('received') or 0):,} received, {int(part.get('stored') or 0):,} stored, {missing:,} missing"
    return Card("Telemetry lost", f"{lost:,}", "readings", more, "bad" if lost else "warn" if missing else "good")


def _plans(part: Mapping[str, Any]) -> Card:
    if "intraday" not in part:
        return Card("Windows solved", "–", "", "not counted", "plain")
    slots, kept = int(part["intraday"]), int(part.get("kept") or 0)
    gap, seconds = part.get("max_gap"), part.get("solve_s_p99")
    more = f"largest certified gap {100 * gap:.2f} %" if isinstance(gap, int | float) else "no certified gap"
    if isinstance(seconds, int | float):
        more += f"; p99 {seconds:.2g} s a solve"
    loose = isinstance(gap, int | float) and gap > WIDE_GAP
    return Card("Windows solved", f"{slots - kept:,}", f"of {slots:,}", more, "warn" if kept or loose else "good")


def _ledger(part: Mapping[str, Any]) -> Card:
    if "verified" not in part:
        return Card("Ledger root", "–", "", "not sealed", "plain")
    more = f"{int(part.get('entries') or 0):,} entries, root {str(part.get('root') or '')[:16]}…"
    if part["verified"]:
        return Card("Ledger root", "verified ✓", "", more, "good")
    return Card("Ledger root", "NOT verified", "", more, "bad")
