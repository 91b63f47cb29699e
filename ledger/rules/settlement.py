"""Where money moves between parties: prices fixed beforehand, settlement of metered energy at them, reversals.

A log holds all parties, or one (genesis names it): then the other side of every trade is the account `clearing`, whose
totals the main log's clearing entries take over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.money import amount_micro
from ledger.rules.state import (
    CLEARING,
    Changes,
    Entry,
    State,
    before_slot,
    body_of,
    by_operator,
    genesis_of,
    integers,
    is_digest,
    is_name,
    postings_of,
    refuse,
)

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


def price(state: State, entry: Entry) -> Changes:
    """Prices of one slot, micro-currency per kWh: a party pays `buy` for what it takes, gets `sell` for what it gives.

    Must be written before the slot starts. A party has one price per slot. Digests name the plan, its inputs and its
    certificate; `commit` (main log) is the Merkle root over the price entries of the parties' own logs.
    """
    body, genesis = body_of(entry, _PRICE, {"commit": str}), by_operator(entry, state)
    slot = body["slot"]
    if body["slot_s"] != genesis["slot_s"] or not is_digest(body.get("commit", "0" * 64)):
        refuse(entry, "prices are set for a slot of the genesis' length", f"slot_s = {genesis['slot_s']}")
    if not (is_name(body["plan"]) and is_digest(body["inputs"]) and is_digest(body["certificate"])):
        refuse(entry, "prices name the plan, and the digests of its inputs and certificate")
    before_slot(entry, genesis, slot)
    integers(entry, "buy", body["buy"])
    integers(entry, "sell", body["sell"])
    facts: Changes = {("price", entry["id"]): (slot, body["buy"], body["sell"])}
    for party in body["buy"].keys() | body["sell"].keys():
        if ("priced", party, slot) in state:
            refuse(entry, f"{party} has a price for this slot", "a price once written stands")
        facts["priced", party, slot] = entry["id"]
    return facts


def price_taker_postings(
    genesis: Mapping[str, Any], party: str, wh: int, buy: Mapping[str, int], sell: Mapping[str, int]
) -> tuple[int, list[list[Any]]]:
    """(price, postings) of a party's net energy: it sells what it gives and buys what it takes, against the operator.

    One rounding per trade: the other leg is the party's negated. The operator's energy leg is 0, because energy goes to
    the bus, whose sum the residual closes; in a party's own log `clearing` carries it over to the main log.
    """
    rate = (sell if wh >= 0 else buy)[party]
    amount = amount_micro(wh, rate)
    other = [CLEARING, -amount, -wh] if "party" in genesis else [genesis["operator"], -amount, 0]
    return rate, [[party, amount, wh], other]


def settlement(state: State, entry: Entry) -> Changes:
    """Settle a party's metered energy of a slot at the price written beforehand; all amounts are recomputed here.

    `traded` is what the party sold (+) or bought (-) by contracts of the slot: only the rest is settled here.
    """
    if "contract" in entry["body"]:
        return contracted(state, entry)
    body, genesis = body_of(entry, _SETTLEMENT, {"traded": int}), by_operator(entry, state)
    party, slot, wh = body["party"], body["slot"], body["wh"]
    if party == genesis["operator"] or ("apart", party) in state:
        refuse(entry, f"{party} is not settled here", "the operator's energy is in the residual, others have own logs")
    _metered(state, entry, party, wh, body["quality"])
    fixed = state.get(("price", body["price"]))
    if fixed is None or fixed[0] != slot:
        refuse(entry, f"no price entry {body['price']!r} for this slot", "write prices before the slot starts")
    traded = state.get(("traded", party, slot), 0)
    rest = wh - traded
    if body.get("traded", 0) != traded:
        refuse(entry, f"{body.get('traded', 0)} Wh traded, contracts of this slot say {traded}")
    if party not in (fixed[2] if rest >= 0 else fixed[1]):
        refuse(entry, f"{body['price']} holds no price for {party}")
    rate, postings = price_taker_postings(genesis, party, rest, fixed[1], fixed[2])
    if body["price_micro"] != rate or body["postings"] != postings:
        refuse(entry, f"price or postings differ from those recomputed: {rate}, {postings}")
    next_run(entry, state.get(("settled", party, slot)))
    facts = flow(state, slot, party, (max(wh, 0), max(-wh, 0), wh, 1))
    facts["settled", party, slot] = (entry["id"], body["run"], True)
    facts["posted", entry["id"]] = ("settled", party, slot, (max(wh, 0), max(-wh, 0), wh, 1), postings)
    facts["rests_on", entry["id"]] = body["metering"]
    return facts


def contracted(state: State, entry: Entry) -> Changes:
    """Settle a contract in full at its price; what buyer or seller metered beyond it is their settlement's rest."""
    body = body_of(entry, {"contract": str, "slot": int, "run": int, "price_micro": int, "wh": int, "postings": list})
    by_operator(entry, state)
    terms = state.get(("contract", body["contract"]))
    if terms is None or terms[:1] + terms[3:] != (body["slot"], body["wh"], body["price_micro"]):
        refuse(entry, f"no contract {body['contract']!r} of these terms")
    if body["postings"] != contract_postings(*terms[1:]):
        refuse(entry, f"postings differ from those recomputed: {contract_postings(*terms[1:])}")
    next_run(entry, state.get(("settled", body["contract"], body["slot"])))
    return {
        ("settled", body["contract"], body["slot"]): (entry["id"], body["run"], True),
        ("posted", entry["id"]): ("settled", body["contract"], body["slot"], (), body["postings"]),
    }


def contract_postings(buyer: str, seller: str, wh: int, price_micro: int) -> list[list[Any]]:
    """Double entry of a trade between two parties: rounded once, the payee's leg is the payer's negated."""
    amount = amount_micro(wh, price_micro)
    return [[seller, amount, wh], [buyer, -amount, -wh]]


def reversal(state: State, entry: Entry) -> Changes:
    """Undo a settlement, clearing or residual entry by its exact negation; a new run may follow. Nothing is edited."""
    body = body_of(entry, {"of": str, "reason": str, "postings": list})
    done = state.get(("posted", body["of"]))
    by_operator(entry, state)
    if not done:
        refuse(entry, f"{body['of']!r} is no standing settlement, clearing or residual entry")
    if postings_of(entry) != [(account, -micro, -wh) for account, micro, wh in done[4]]:
        refuse(entry, f"postings are not the exact negation of {body['of']}")
    kind, name, slot, moved, _ = done
    identity, run, _ = state[kind, name, slot]
    facts: Changes = {("posted", body["of"]): (), (kind, name, slot): (identity, run, False)}
    if moved:
        facts.update(flow(state, slot, name, moved, sign=-1))
    return facts


def next_run(entry: Entry, last: tuple[str, int, bool] | None) -> None:
    """Refuse unless nothing stands and the run is the one after the last."""
    run = entry["body"]["run"]
    before, standing = (last[1], last[2]) if last else (-1, False)
    if standing or run != before + 1:
        refuse(entry, f"run {run} after run {before} ({'standing' if standing else 'reversed'})", "reverse it first")


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


def flow(state: State, slot: int, name: str, moved: tuple[int, int, int, int], sign: int = 1) -> Changes:
    """Energy of a slot settled so far: given, taken, by whom (net), meters; sign -1 takes a settlement out again."""
    given, taken, parties, meters = state.get(("flow", slot), NOTHING)
    more_given, more_taken, net, more_meters = moved
    parties = {**parties, name: net} if sign > 0 else {key: e for key, e in parties.items() if key != name}
    now = (given + sign * more_given, taken + sign * more_taken, parties, meters + sign * more_meters)
    return {("flow", slot): now}


NOTHING: tuple[int, int, dict[str, int], int] = (0, 0, {}, 0)
"""The flow of a slot before anything is settled."""
