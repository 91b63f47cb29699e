"""Information entries: what was metered, and what was dispatched."""

from __future__ import annotations

from typing import Any

from ledger.rules.state import Changes, Entry, State, body_of, genesis_of, is_digest, is_name, refuse

QUALITIES = ("actual", "estimated")
_METERING: dict[str, type] = {
    "device": str,
    "start": int,
    "period_s": int,
    "count": int,
    "root": str,
    "wh": int,
    "quality": str,
    "rev": int,
}


def metering(state: State, entry: Entry) -> Changes:
    """A device's readings of one period: Merkle root and count of the batch, net energy given (Wh), quality, revision.

    `reg` (settlement meters) holds [imp at start, imp at end, exp at start, exp at end] in Wh and must explain `wh`.
    `res` is the register's resolution in mWh, if coarser than 1 Wh.
    """
    body = body_of(entry, _METERING, {"reg": list, "res": int})
    device, start = body["device"], body["start"]
    owner = state.get(("device", device))
    if owner is None or entry["by"] != owner:
        refuse(
            entry, f"{device} is registered to {owner or 'no one'}, not to {entry['by']}", "register the meter first"
        )
    if (
        body["period_s"] <= 0
        or start % (body["period_s"] * 1_000_000)
        or body["count"] < 0
        or not is_digest(body["root"])
    ):
        refuse(entry, "period, start, count or root out of range", "start is a multiple of the period, UTC")
    if body["quality"] not in QUALITIES:
        refuse(entry, f"quality {body['quality']!r}", "quality is actual or estimated")
    last: tuple[Any, ...] = state.get(("metered", device, start), ("", -1))
    if body["rev"] != last[1] + 1:
        refuse(entry, f"revision {body['rev']}, the last was {last[1]}", "late readings make the next revision")
    facts: Changes = {}
    if "reg" in body:
        _explained(entry, body)
        facts["asks", device, start] = entry["id"]
    facts["metered", device, start] = (entry["id"], body["rev"], body["wh"], body["quality"], body["period_s"])
    return facts


def dispatch(state: State, entry: Entry) -> Changes:
    """The setpoints of a slot, as a digest, and the plan they follow. A slot is dispatched once."""
    body = body_of(entry, {"slot": int, "slot_s": int, "plan": str, "digest": str}, {"solver": str})
    if entry["by"] != genesis_of(state)["operator"] or not is_digest(body["digest"]) or not is_name(body["plan"]):
        refuse(entry, "dispatch is written by the operator, with a digest and a plan id")
    before = state.get(("dispatch", body["slot"]), body["digest"])
    if before != body["digest"]:
        refuse(entry, f"slot {body['slot']} was dispatched with another digest ({before})")
    return {("dispatch", body["slot"]): body["digest"]}


def _explained(entry: Entry, body: dict[str, Any]) -> None:
    reg = body["reg"]
    if len(reg) != 4 or any(type(value) is not int for value in reg):
        refuse(entry, "reg is [imp at start, imp at end, exp at start, exp at end], Wh")
    if body["wh"] != (reg[3] - reg[2]) - (reg[1] - reg[0]):
        refuse(entry, f"{body['wh']} Wh do not follow from the registers {reg}")
