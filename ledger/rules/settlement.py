"""Where money moves: prices fixed beforehand, settlement of metered energy at them, the residual, reversals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.money import amount_micro, split_micro
from ledger.rules.state import (
    Changes,
    Entry,
    State,
    body_of,
    genesis_of,
    integers,
    is_digest,
    is_name,
    postings_of,
    refuse,
)

RESIDUAL = "residual"
"""Account of the energy that no meter explains."""

_PRICE: dict[str, type] = {
    "slot": int,
    "slot_s": int,
    "buy": dict,
    "sell": dict,
    "plan": str,
    "inputs": str,
    "certificate": str,
}
_SETTLEMENT: dict[str, type] = {
    "party": str,
    "slot": int,
    "run": int,
    "metering": str,
    "price": str,
    "price_micro": int,
    "wh": int,
    "quality": str,
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


def price(state: State, entry: Entry) -> Changes:
    """Prices of one slot, micro-currency per kWh: a party pays `buy` for what it takes, gets `sell` for what it gives.

    Must be written before the slot starts (genesis.price_grace_us allows for entries of one instant, which are kept
    1 µs apart). A party has one price per slot. Digests name the plan, its inputs and its certificate.
    """
    body, genesis = body_of(entry, _PRICE), genesis_of(state)
    slot, slot_us = body["slot"], genesis["slot_s"] * 1_000_000
    if entry["by"] != genesis["operator"] or body["slot_s"] != genesis["slot_s"] or slot % slot_us:
        refuse(
            entry, "prices are set by the operator for a slot of the genesis' length", f"slot_s = {genesis['slot_s']}"
        )
    if not (is_name(body["plan"]) and is_digest(body["inputs"]) and is_digest(body["certificate"])):
        refuse(entry, "prices name the plan, and the digests of its inputs and certificate")
    if entry["ts"] > slot + genesis["price_grace_us"]:
        late = (entry["ts"] - slot) / 1e6
        refuse(entry, f"written {late:.3f} s after the slot began", "write prices before the slot they hold for")
    integers(entry, "buy", body["buy"])
    integers(entry, "sell", body["sell"])
    facts: Changes = {("price", entry["id"]): (slot, body["buy"], body["sell"])}
    for party in body["buy"].keys() | body["sell"].keys():
        if ("priced", party, slot) in state:
            refuse(entry, f"{party} has a price for this slot", "a price once written stands")
        facts["priced", party, slot] = entry["id"]
    return facts


def price_taker_postings(
    party: str, operator: str, wh: int, buy: Mapping[str, int], sell: Mapping[str, int]
) -> tuple[int, list[list[Any]]]:
    """(price, postings) of a party's net energy: it sells what it gives and buys what it takes, against the operator.

    One rounding per trade: the operator's leg is the party's negated.
    """
    rate = (sell if wh >= 0 else buy)[party]
    amount = amount_micro(wh, rate)
    return rate, [[party, amount, wh], [operator, -amount, 0]]


def settlement(state: State, entry: Entry) -> Changes:
    """Settle a party's metered energy of a slot at the price written beforehand; all amounts are recomputed here."""
    body, operator = body_of(entry, _SETTLEMENT), genesis_of(state)["operator"]
    party, slot, wh = body["party"], body["slot"], body["wh"]
    if entry["by"] != operator or party == operator:
        refuse(entry, "the operator settles, with others", "its own energy enters the residual entry")
    _metered(state, entry, party, wh, body["quality"])
    fixed = state.get(("price", body["price"]))
    if fixed is None or fixed[0] != slot:
        refuse(entry, f"no price entry {body['price']!r} for this slot", "write prices before the slot starts")
    if party not in (fixed[2] if wh >= 0 else fixed[1]):
        refuse(entry, f"{body['price']} holds no price for {party}")
    rate, postings = price_taker_postings(party, operator, wh, fixed[1], fixed[2])
    if body["price_micro"] != rate or body["postings"] != postings:
        refuse(entry, f"price or postings differ from those recomputed: {rate}, {postings}")
    last = state.get(("settled", party, slot), ("", -1, False))
    if last[2] or body["run"] != last[1] + 1:
        refuse(
            entry,
            f"run {body['run']} after run {last[1]} ({'standing' if last[2] else 'reversed'})",
            "reverse it first",
        )
    facts = _flow(state, slot, wh, party, 1)
    facts["settled", party, slot] = (entry["id"], body["run"], True)
    facts["posted", entry["id"]] = ("settled", party, slot, wh, postings)
    facts["rests_on", entry["id"]] = body["metering"]
    return facts


def residual_figures(state: State, slot: int, own_wh: int, rate: int) -> dict[str, Any]:
    """Close a slot: energy of all parties added up, its share of the flow, alarm, value and postings.

    own_wh : Wh given by the operator's own meter        rate : micro-currency per kWh the energy is valued at
    Wh in the `residual` account are what was given to the bus and taken by no meter (losses, meter errors).
    The alarm needs both a share above genesis.residual_alarm_ppm and more than 1 Wh per meter, its rounding.
    """
    genesis = genesis_of(state)
    operator = genesis["operator"]
    given, taken, parties = state.get(("flow", slot), (0, 0, {}))
    given, taken = given + max(own_wh, 0), taken + max(-own_wh, 0)
    wh, flow = given - taken, max(given, taken)
    share = abs(wh) * 1_000_000 // flow if flow else 0
    value = amount_micro(wh, rate)
    postings: list[list[Any]] = [[operator, 0, own_wh], [RESIDUAL, 0, -wh]]
    if genesis["residual_by"] == "pro_rata":
        weights = {party: abs(energy) for party, energy in parties.items() if party != genesis["grid"]}
        shares = split_micro(value, weights) if weights else {}
        postings[0][1] = sum(shares.values())
        postings += [[party, -part, 0] for party, part in sorted(shares.items())]
    alarm = share > genesis["residual_alarm_ppm"] and abs(wh) > len(parties) + 1
    return {"wh": wh, "flow_wh": flow, "share_ppm": share, "alarm": alarm, "value_micro": value, "postings": postings}


def residual(state: State, entry: Entry) -> Changes:
    """Close a slot: the energy no meter explains, on an account of its own, borne by the rule in genesis.

    Valued at what the grid asks for import (`sell` of the grid in the price entry).
    """
    body, genesis = body_of(entry, _RESIDUAL), genesis_of(state)
    slot, operator = body["slot"], genesis["operator"]
    own = 0
    if state.get(("meter", operator)):
        own = _own_energy(state, entry, operator)
    elif body["metering"]:
        refuse(entry, "the operator has no settlement meter")
    fixed = state.get(("price", body["price"]))
    if entry["by"] != operator or fixed is None or fixed[0] != slot or genesis["grid"] not in fixed[2]:
        refuse(entry, "the operator closes a slot at the grid's price of this slot")
    figures = residual_figures(state, slot, own, fixed[2][genesis["grid"]])
    if differing := [name for name, value in figures.items() if body[name] != value]:
        refuse(entry, f"{', '.join(differing)} differ from those recomputed: {figures}")
    last = state.get((RESIDUAL, slot), ("", -1, False))
    if last[2] or body["run"] != last[1] + 1:
        refuse(entry, f"run {body['run']} after run {last[1]}", "reverse it first")
    return {
        (RESIDUAL, slot): (entry["id"], body["run"], True),
        ("posted", entry["id"]): (RESIDUAL, slot, 0, 0, body["postings"]),
        ("rests_on", entry["id"]): body["metering"],
    }


def reversal(state: State, entry: Entry) -> Changes:
    """Undo a settlement or residual entry by its exact negation; a new run may follow. Nothing is ever edited."""
    body = body_of(entry, {"of": str, "reason": str, "postings": list})
    done = state.get(("posted", body["of"]))
    if entry["by"] != genesis_of(state)["operator"] or not done:
        refuse(entry, f"{body['of']!r} is no standing settlement or residual entry")
    if postings_of(entry) != [(account, -micro, -wh) for account, micro, wh in done[4]]:
        refuse(entry, f"postings are not the exact negation of {body['of']}")
    facts: Changes = {("posted", body["of"]): ()}
    if done[0] == RESIDUAL:
        identity, run, _ = state[RESIDUAL, done[1]]
        facts[RESIDUAL, done[1]] = (identity, run, False)
        return facts
    _, party, slot, wh, _ = done
    identity, run, _ = state["settled", party, slot]
    facts["settled", party, slot] = (identity, run, False)
    facts.update(_flow(state, slot, wh, party, -1))
    return facts


def _metered(state: State, entry: Entry, party: str, wh: int, quality: str) -> None:
    """Refuse unless the entry rests on the latest metering of the party's settlement meter for this slot."""
    body = entry["body"]
    meter = state.get(("meter", party))
    if not meter:
        refuse(entry, f"{party} has no registered settlement meter")
    found = state.get(("metered", meter, body["slot"]))
    if found is None or found[0] != body["metering"]:
        latest = found[0] if found else "none"
        refuse(entry, f"rests on metering {body['metering']!r}; the latest of {meter} for this slot is {latest}")
    if found[2:] != (wh, quality, genesis_of(state)["slot_s"]):
        refuse(entry, f"energy {wh} Wh ({quality}) is not what {found[0]} holds: {found[2]} Wh ({found[3]})")


def _own_energy(state: State, entry: Entry, operator: str) -> int:
    found = state.get(("metered", state["meter", operator], entry["body"]["slot"]))
    if found is None or found[0] != entry["body"]["metering"]:
        refuse(entry, f"the operator's metering for this slot is {found[0] if found else 'missing'}")
    energy: int = found[2]
    return energy


def _flow(state: State, slot: int, wh: int, party: str, sign: int) -> Changes:
    """Energy given and taken in a slot by those settled, and by whom; sign -1 takes a settlement out again."""
    given, taken, parties = state.get(("flow", slot), (0, 0, {}))
    parties = {**parties, party: wh} if sign > 0 else {name: e for name, e in parties.items() if name != party}
    return {("flow", slot): (given + sign * max(wh, 0), taken + sign * max(-wh, 0), parties)}
