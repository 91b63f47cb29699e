"""What closes a slot: the totals of the parties' own logs, and the energy that no meter explains."""

from __future__ import annotations

from typing import Any

from ledger.money import amount_micro, split_micro
from ledger.rules.settlement import NOTHING, flow, next_run
from ledger.rules.state import (
    CLEARING,
    RESIDUAL,
    Changes,
    Entry,
    State,
    body_of,
    by_operator,
    genesis_of,
    is_digest,
    postings_of,
    refuse,
)

_CLEARING: dict[str, type] = {
    "slot": int,
    "run": int,
    "count": int,
    "root": str,
    "given_wh": int,
    "taken_wh": int,
    "micro": int,
    "postings": list,
}
_SHARE: dict[str, type] = {
    "of": str,
    "slot": int,
    "run": int,
    "wh": int,
    "flow_wh": int,
    "value_micro": int,
    "postings": list,
}
_RESIDUAL: dict[str, type] = {
    "slot": int,
    "run": int,
    "wh": int,
    "flow_wh": int,
    "share_ppm": int,
    "alarm": bool,
    "value_micro": int,
    "price": str,
    "metering": str,
    "postings": list,
}


def clearing(state: State, entry: Entry) -> Changes:
    """Totals of a slot over the parties' own logs: how many were settled, energy given and taken, what they received.

    `root` commits to their settlement entries (Merkle root over the leaves, in order of the parties). That the totals
    are the sums is checked by whoever holds those logs (ledger.across); here, that the postings follow from the totals.
    `traded_wh` is what they sold net to parties of the main log by contracts, which are settled by themselves.
    """
    body, genesis = body_of(entry, _CLEARING, {"traded_wh": int}), by_operator(entry, state)
    given, taken, slot = body["given_wh"], body["taken_wh"], body["slot"]
    apart = sum(("apart", party) in state for party in state.get(("parties",), ()))
    if not 0 < body["count"] <= apart or not is_digest(body["root"]) or given < 0 or taken < 0:
        refuse(entry, f"count, root, given_wh or taken_wh out of range; {apart} parties have logs of their own")
    if "party" in genesis or slot % (genesis["slot_s"] * 1_000_000):
        refuse(entry, "totals stand in the main log, for a slot")
    if body["postings"] != clearing_postings(genesis["operator"], body["micro"], given - taken, body.get("traded_wh")):
        refuse(entry, "postings do not follow from the totals")
    next_run(entry, state.get((CLEARING, CLEARING, slot)))
    moved = (given, taken, given + taken, body["count"])
    return {
        **flow(state, slot, CLEARING, moved),
        (CLEARING, CLEARING, slot): (entry["id"], body["run"], True),
        ("posted", entry["id"]): (CLEARING, CLEARING, slot, moved, body["postings"]),
        ("rests_on", entry["id"]): body["root"],
    }


def clearing_postings(operator: str, micro: int, wh: int, traded_wh: int | None) -> list[list[Any]]:
    """The account `clearing` takes over what the parties' own logs hold against it; the operator pays or gets it."""
    return [[CLEARING, micro, wh - (traded_wh or 0)], [operator, -micro, 0]]


def residual_figures(state: State, slot: int, own_wh: int, rate: int) -> dict[str, Any]:
    """Close a slot: energy of all parties added up, its share of the flow, alarm, value and postings.

    own_wh : Wh given by the operator's own meter        rate : micro-currency per kWh the energy is valued at
    Wh in the `residual` account are what were given to the bus and taken by no meter (losses, meter errors).
    The alarm needs both a share above genesis.residual_alarm_ppm and more than 1 Wh per meter, its rounding.
    """
    genesis = genesis_of(state)
    operator = genesis["operator"]
    given, taken, meters = state.get(("flow", slot), NOTHING)
    given, taken = given + max(own_wh, 0), taken + max(-own_wh, 0)
    wh, most = given - taken, max(given, taken)
    share = abs(wh) * 1_000_000 // most if most else 0
    value = amount_micro(wh, rate)
    postings: list[list[Any]] = [[operator, 0, own_wh - state.get(("traded", operator, slot), 0)], [RESIDUAL, 0, -wh]]
    if genesis["residual_by"] == "pro_rata":
        parties = [party for party in (CLEARING, *state.get(("parties",), ())) if party != genesis["grid"]]
        weights = {party: abs(*net) for party in parties if (net := state.get(("net", party, slot)))}
        shares = split_micro(value, weights) if weights else {}
        postings[0][1] = sum(shares.values())
        postings += [[party, -part, 0] for party, part in sorted(shares.items())]
    alarm = share > genesis["residual_alarm_ppm"] and abs(wh) > meters + 1
    return {"wh": wh, "flow_wh": most, "share_ppm": share, "alarm": alarm, "value_micro": value, "postings": postings}


def residual(state: State, entry: Entry) -> Changes:
    """Close a slot: the energy no meter explains, on an account of its own, borne by the rule in genesis.

    Valued at what the grid asks for import (`sell` of the grid in the price entry). In a party's own log: its share.
    """
    genesis = by_operator(entry, state)
    if "party" in genesis:
        return _own_share(state, entry, genesis)
    body = body_of(entry, _RESIDUAL)
    slot, operator = body["slot"], genesis["operator"]
    own = 0
    if state.get(("meter", operator)):
        own = _own_energy(state, entry, operator)
    elif body["metering"]:
        refuse(entry, "the operator has no settlement meter")
    fixed = state.get(("price", body["price"]))
    if fixed is None or fixed[0] != slot or genesis["grid"] not in fixed[2]:
        refuse(entry, "a slot is closed at the grid's price of this slot")
    figures = residual_figures(state, slot, own, fixed[2][genesis["grid"]])
    if differing := [name for name, value in figures.items() if body[name] != value]:
        refuse(entry, f"{', '.join(differing)} differ from those recomputed: {figures}")
    next_run(entry, state.get((RESIDUAL, RESIDUAL, slot)))
    return {
        (RESIDUAL, RESIDUAL, slot): (entry["id"], body["run"], True),
        ("posted", entry["id"]): (RESIDUAL, RESIDUAL, slot, (), body["postings"]),
        ("rests_on", entry["id"]): body["metering"],
    }


def _own_share(state: State, entry: Entry, genesis: dict[str, Any]) -> Changes:
    """A party's part of what the main log's residual entry `of` lays on the parties with logs of their own.

    value_micro, flow_wh : what they bear together, and the energy of all of them
    wh : energy of this party, given or taken. Its part is value x wh / flow, rounded down or up; that all parts sum to
    the value, by largest remainder, is checked across the logs (ledger.across).
    """
    body, party = body_of(entry, _SHARE), genesis["party"]
    slot, wh, flow_wh = body["slot"], body["wh"], body["flow_wh"]
    identity, _, standing = state.get(("settled", party, slot), ("", -1, False))
    if genesis["residual_by"] != "pro_rata" or not standing or abs(state["posted", identity][3][2]) != wh:
        refuse(entry, f"a share rests on the party's settlement of the slot, {wh} Wh", "residual_by: pro_rata")
    rows = postings_of(entry)
    part = -rows[0][1] if rows else 0
    value = body["value_micro"]
    low, width = (value * wh // flow_wh, 1) if flow_wh else (min(value, 0), abs(value))  # of nothing: in equal parts
    if not 0 <= wh <= flow_wh or not low <= part <= low + width or body["postings"] != share_postings(party, part):
        refuse(entry, f"{part} is not the part of {wh} in {flow_wh} Wh of {value}")
    next_run(entry, state.get((RESIDUAL, RESIDUAL, slot)))
    return {
        (RESIDUAL, RESIDUAL, slot): (entry["id"], body["run"], True),
        ("posted", entry["id"]): (RESIDUAL, RESIDUAL, slot, (), body["postings"]),
        ("rests_on", entry["id"]): body["of"],
    }


def share_postings(party: str, part: int) -> list[list[Any]]:
    """A party pays its part of the residual to the main log's `clearing`."""
    return [[party, -part, 0], [CLEARING, part, 0]]


def _own_energy(state: State, entry: Entry, operator: str) -> int:
    found = state.get(("metered", state["meter", operator], entry["body"]["slot"]))
    if found is None or found[0] != entry["body"]["metering"]:
        refuse(entry, f"the operator's metering for this slot is {found[0] if found else 'missing'}")
    energy: int = found[2]
    return energy
