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
    Fields,
    State,
    before_slot,
    body_of,
    by_operator,
    integers,
    is_digest,
    is_name,
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
_SETTLEMENT = Fields(
    {
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
)
_TRADED: dict[str, type] = {"traded": int}
_REVERSAL = Fields({"of": str, "reason": str, "postings": list})
_CONTRACTED: dict[str, type] = {
    "contract": str,
    "slot": int,
    "run": int,
    "price_micro": int,
    "wh": int,
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
    body, genesis = body_of(entry, _SETTLEMENT, _TRADED), by_operator(entry, state)
    party, slot, wh = body["party"], body["slot"], body["wh"]
    if party == genesis["operator"] or ("apart", party) in state:
        refuse(entry, f"{party} is not settled here", "the operator's energy is in the residual, others have own logs")
    _metered(state, entry, party, (wh, body["quality"], genesis["slot_s"]))
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
    moved = (wh, 0, wh, 1) if wh >= 0 else (0, -wh, wh, 1)
    facts = flow(state, slot, party, moved)
    facts["settled", party, slot] = (entry["id"], body["run"], True)
    facts["posted", entry["id"]] = ("settled", party, slot, moved, postings)
    facts["rests_on", entry["id"]] = body["metering"]
    return facts


def contracted(state: State, entry: Entry) -> Changes:
    """Settle a contract in full at its price; what buyer or seller metered beyond it is their settlement's rest.

    A party's own log holds its side alone: `leaf` names the main log's contract entry, `wh` is what it sold (+) or
    bought (-). That the contract says so is checked by whoever holds both logs (ledger.across, or a bill's proof).
    """
    genesis = by_operator(entry, state)
    body = body_of(entry, {**_CONTRACTED, "leaf": str} if "party" in genesis else _CONTRACTED)
    if "party" in genesis:
        facts = _own_side(state, entry, genesis["party"])
        postings = own_contract_postings(genesis["party"], body["wh"], body["price_micro"])
    else:
        facts, terms = {}, state.get(("contract", body["contract"]))
        if terms is None or terms[:1] + terms[3:] != (body["slot"], body["wh"], body["price_micro"]):
            refuse(entry, f"no contract {body['contract']!r} of these terms")
        postings = contract_postings(state, *terms[1:])
    if not postings or body["postings"] != postings:
        refuse(entry, f"postings differ from those recomputed: {postings or 'none, both sides have logs of their own'}")
    next_run(entry, state.get(("settled", body["contract"], body["slot"])))
    facts["settled", body["contract"], body["slot"]] = (entry["id"], body["run"], True)
    facts["posted", entry["id"]] = ("settled", body["contract"], body["slot"], (), body["postings"])
    return facts


def _own_side(state: State, entry: Entry, party: str) -> Changes:
    """A contract as the party's own log learns of it: before the rest of that slot is settled."""
    body, slot = entry["body"], entry["body"]["slot"]
    terms = (slot, body["leaf"], body["wh"], body["price_micro"])
    known = state.get(("contract", body["contract"]))
    if not is_digest(body["leaf"]) or not body["wh"] or known not in (None, terms):
        refuse(entry, f"not what {body['contract']!r} was before", "leaf, wh and price are those of the contract")
    if known is not None:
        return {}
    if state.get(("settled", party, slot), ("", -1, False))[2]:
        refuse(entry, "the rest of this slot is settled already", "reverse that first")
    return {
        ("contract", body["contract"]): terms,
        ("traded", party, slot): state.get(("traded", party, slot), 0) + body["wh"],
        ("trading", party): tuple(sorted({*state.get(("trading", party), ()), slot})),
    }


def contract_postings(state: State, buyer: str, seller: str, wh: int, price_micro: int) -> list[list[Any]]:
    """Double entry of a trade between two parties: rounded once, the payee's leg is the payer's negated.

    For a side that is settled in a log of its own stands `clearing`; nothing is posted here if both are.
    """
    amount = amount_micro(wh, price_micro)
    seller, buyer = (CLEARING if ("apart", name) in state else name for name in (seller, buyer))
    return [] if seller == buyer else [[seller, amount, wh], [buyer, -amount, -wh]]


def own_contract_postings(party: str, wh: int, price_micro: int) -> list[list[Any]]:
    """A party's side of a contract in its own log."""
    amount = amount_micro(wh, price_micro)
    return [[party, amount, wh], [CLEARING, -amount, -wh]]


def reversal(state: State, entry: Entry) -> Changes:
    """Undo a settlement, clearing or residual entry by its exact negation; a new run may follow. Nothing is edited."""
    body = body_of(entry, _REVERSAL)
    done = state.get(("posted", body["of"]))
    by_operator(entry, state)
    if not done:
        refuse(entry, f"{body['of']!r} is no standing settlement, clearing or residual entry")
    if body["postings"] != [[account, -micro, -wh] for account, micro, wh in done[4]]:
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


def _metered(state: State, entry: Entry, party: str, energy: tuple[int, str, int]) -> None:
    """Refuse unless the entry rests on the latest metering of the party's settlement meter for this slot.

    energy : Wh, quality, length of the slot (s)
    """
    body = entry["body"]
    meter = state.get(("meter", party))
    if not meter:
        refuse(entry, f"{party} has no registered settlement meter")
    found = state.get(("metered", meter, body["slot"]))
    if found is None or found[0] != body["metering"]:
        latest = found[0] if found else "none"
        refuse(entry, f"rests on metering {body['metering']!r}; the latest of {meter} for this slot is {latest}")
    if found[2:] != energy:
        refuse(entry, f"energy {energy[:2]} (Wh, quality) is not what {found[0]} holds: {found[2:4]}")


def flow(state: State, slot: int, name: str, moved: tuple[int, int, int, int], sign: int = 1) -> Changes:
    """Energy of a slot settled so far: given, taken, meters; and of this party, net. sign -1 takes it out again."""
    given, taken, meters = state.get(("flow", slot), NOTHING)
    more_given, more_taken, net, more_meters = moved
    now = (given + sign * more_given, taken + sign * more_taken, meters + sign * more_meters)
    return {("flow", slot): now, ("net", name, slot): (net,) if sign > 0 else ()}


NOTHING = (0, 0, 0)
"""The flow of a slot before anything is settled."""
