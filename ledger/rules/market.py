"""Trades between parties: signed bids, matches within them, contracts that both sides signed; all before the slot.

They stand in the main log, also those of parties that are settled in logs of their own.
"""

from __future__ import annotations

from typing import Any

from ledger import canon
from ledger.note import ed25519_verify
from ledger.rules.state import Changes, Entry, State, before_slot, body_of, by_operator, genesis_of, is_digest, refuse
from ledger.rules.tool import unbase64

SIDES = ("buy", "sell")
VERDICTS = ("ok", "rejected")


def bid(state: State, entry: Entry) -> Changes:
    """A party's signed offer to buy or sell up to `wh` in a slot, at `limit_micro` per kWh or better.

    `reserve_micro` is the worst price it takes in a second round (paper 001, steps 1-4); without it the limit.
    """
    fields = {"party": str, "slot": int, "side": str, "wh": int, "limit_micro": int}
    body = body_of(entry, fields, {"reserve_micro": int})
    genesis = genesis_of(state)
    if entry["by"] != body["party"] or not state.get(("meter", body["party"])):
        refuse(entry, "a bid is signed by the party that makes it, which has a meter")
    if "party" in genesis:
        refuse(entry, "bids, matches and contracts stand in the main log", "append it there")
    if body["side"] not in SIDES or body["wh"] <= 0:
        refuse(entry, f"side {body['side']!r}, {body['wh']} Wh", "side is buy or sell, wh is positive")
    limit = body["limit_micro"]
    reserve = body.get("reserve_micro", limit)
    if (reserve < limit) if body["side"] == "buy" else (reserve > limit):
        refuse(entry, "the reserve price is better than the limit", "it is the worst price that is still taken")
    before_slot(entry, genesis, body["slot"])
    return {("bid", entry["id"]): (body["party"], body["slot"], body["side"], body["wh"], reserve)}


def match(state: State, entry: Entry) -> Changes:
    """Two bids served with each other. `check` digests the power-flow check; only the verdict `ok` trades anything.

    Refused unless both have so much left and the price lies between what they accept.
    """
    fields = {"slot": int, "buy": str, "sell": str, "wh": int, "price_micro": int, "verdict": str, "check": str}
    body, genesis = body_of(entry, fields), by_operator(entry, state)
    before_slot(entry, genesis, body["slot"])
    buy, sell = (_offer(state, entry, body[side], side) for side in SIDES)
    if buy[0] == sell[0] or body["verdict"] not in VERDICTS or not is_digest(body["check"]):
        refuse(entry, "two parties, a verdict (ok, rejected) and the digest of its check")
    if not 0 < body["wh"] <= min(buy[3], sell[3]):
        refuse(entry, f"{body['wh']} Wh, left are {buy[3]} to buy and {sell[3]} to sell")
    if not sell[4] <= body["price_micro"] <= buy[4]:
        refuse(entry, f"price {body['price_micro']} is not between the offers, {sell[4]} and {buy[4]}")
    terms = (body["slot"], buy[0], sell[0], body["wh"], body["price_micro"])
    if body["verdict"] != "ok":
        return {("match", entry["id"]): ()}
    facts: Changes = {("match", entry["id"]): terms}
    for offer, name in ((buy, body["buy"]), (sell, body["sell"])):
        facts["bid", name] = (*offer[:3], offer[3] - body["wh"], offer[4])
    return facts


def contract(state: State, entry: Entry) -> Changes:
    """Buyer and seller agree to a match: signed by the buyer, `accept` is the seller's signature of the same terms."""
    fields = {"match": str, "slot": int, "buyer": str, "seller": str, "wh": int, "price_micro": int, "accept": str}
    body = body_of(entry, fields)
    terms = tuple(body[name] for name in ("slot", "buyer", "seller", "wh", "price_micro"))
    if state.get(("match", body["match"])) != terms:
        refuse(entry, f"no match {body['match']!r} of these terms that passed its check")
    if ("contracted", body["match"]) in state:
        refuse(entry, f"{body['match']} is contracted already, by {state['contracted', body['match']]}")
    before_slot(entry, genesis_of(state), body["slot"])
    key = unbase64(state.get(("actor", body["seller"]), ""))
    if entry["by"] != body["buyer"] or not ed25519_verify(
        key, unbase64(body["accept"]), accept_message(entry["log"], body)
    ):
        refuse(entry, "a contract is signed by the buyer and accepted by the seller", "sign market.accept_message")
    facts: Changes = {("contract", entry["id"]): terms, ("contracted", body["match"]): entry["id"]}
    slot = body["slot"]
    facts["contracts", slot] = (*state.get(("contracts", slot), ()), entry["id"])
    for party, wh in ((body["seller"], body["wh"]), (body["buyer"], -body["wh"])):
        facts["traded", party, slot] = state.get(("traded", party, slot), 0) + wh
        facts["trading", party] = tuple(sorted({*state.get(("trading", party), ()), slot}))
    return facts


def accept_message(log: str, body: dict[str, Any]) -> bytes:
    """What the seller signs: the contract's terms and the log they hold in."""
    terms = {name: body[name] for name in ("match", "slot", "buyer", "seller", "wh", "price_micro")}
    return b"vpptwin/contract/v1\n" + canon.dumps({**terms, "log": log})


def _offer(state: State, entry: Entry, name: str, side: str) -> tuple[str, int, str, int, int]:
    found: tuple[str, int, str, int, int] | None = state.get(("bid", name))
    if found is None or found[1:3] != (entry["body"]["slot"], side):
        refuse(entry, f"{name!r} is no bid to {side} in this slot")
    return found
