"""Settlement of a slot under the rule `price_taker`: entries computed from what the ledger holds, nothing else.

Each party sells what it gave and buys what it took, against the operator, at the prices written before the slot; the
operator settles the grid meter at the tariff the same way; what no meter explains goes to the account `residual`.
"""

from __future__ import annotations

from collections import ChainMap
from typing import Any

from ledger import drafts
from ledger.chain import Draft
from ledger.errors import LedgerError
from ledger.rules import State
from ledger.rules.settlement import price_taker_postings, residual_figures

US = 1_000_000


def settle_slot(state: State, slot_us: int) -> list[Draft]:
    """The entries that settle a slot, from prices and latest metering in the ledger; to be appended in one batch.

    What stands and still rests on the latest metering is left alone; what rests on an older revision is reversed and
    settled anew (next run), and the residual with it. A party without a price for the slot is not settled.
    Raises LedgerError if a party with a settlement meter has no metering of the slot.
    """
    genesis = state[("genesis",)]
    operator = genesis["operator"]
    undo: list[Draft] = []
    made: list[Draft] = []
    settled: dict[str, int] = dict(state.get(("flow", slot_us), (0, 0, {}))[2])
    for party in state.get(("parties",), ()):
        if party == operator or not state.get(("meter", party)):
            continue
        reversed_, fresh = _party(state, slot_us, party)
        undo += reversed_
        made += fresh
        if fresh:
            settled[party] = fresh[0].body["wh"]
    closing = _residual(state, slot_us, settled, bool(made))
    return undo + made + closing


def _party(state: State, slot_us: int, party: str) -> tuple[list[Draft], list[Draft]]:
    """(reversals, settlements) of one party: nothing, a first settlement, or a reversal and the next run."""
    operator = state[("genesis",)]["operator"]
    identity, _, wh, quality, _ = _metered(state, slot_us, party)
    price_id = state.get(("priced", party, slot_us))
    if price_id is None:
        return [], []
    last_id, run, standing = state.get(("settled", party, slot_us), ("", -1, False))
    undo: list[Draft] = []
    if standing:
        if state.get(("rests_on", last_id)) == identity:
            return [], []
        undo = [drafts.reversal(operator, of=last_id, postings=state["posted", last_id][4], reason="later readings")]
    _, buy, sell = state["price", price_id]
    rate, postings = price_taker_postings(party, operator, wh, buy, sell)
    body: dict[str, Any] = {
        "party": party,
        "slot": slot_us,
        "run": run + 1,
        "metering": identity,
        "price": price_id,
        "price_micro": rate,
        "wh": wh,
        "quality": quality,
        "postings": postings,
    }
    return undo, [Draft("settlement", body, f"stl:{party}:{slot_us // US}:{run + 1}", operator)]


def _residual(state: State, slot_us: int, settled: dict[str, int], changed: bool) -> list[Draft]:
    genesis = state[("genesis",)]
    operator, grid = genesis["operator"], genesis["grid"]
    price_id = state.get(("priced", grid, slot_us))
    if price_id is None or grid not in state["price", price_id][2]:
        return []
    own_id, own_wh = "", 0
    if state.get(("meter", operator)):
        own_id, _, own_wh, _, _ = _metered(state, slot_us, operator)
    last_id, run, standing = state.get(("residual", slot_us), ("", -1, False))
    undo: list[Draft] = []
    if standing:
        if not changed and state.get(("rests_on", last_id)) == own_id:
            return []
        undo = [drafts.reversal(operator, of=last_id, postings=state["posted", last_id][4], reason="later readings")]
    given = sum(wh for wh in settled.values() if wh > 0)
    taken = sum(-wh for wh in settled.values() if wh < 0)
    after = ChainMap({("flow", slot_us): (given, taken, settled)}, state)  # type: ignore[arg-type]
    figures = residual_figures(after, slot_us, own_wh, state["price", price_id][2][grid])
    body = {"slot": slot_us, "run": run + 1, "price": price_id, "metering": own_id, **figures}
    return [*undo, Draft("residual", body, f"res:{slot_us // US}:{run + 1}", operator)]


def _metered(state: State, slot_us: int, party: str) -> tuple[str, int, int, str, int]:
    """(entry id, revision, Wh, quality, period) of the latest metering of a party's meter."""
    meter = state["meter", party]
    found: tuple[str, int, int, str, int] | None = state.get(("metered", meter, slot_us))
    if found is None:
        raise LedgerError(
            f"no metering of {meter} for slot {slot_us // US}",
            where=f"settlement of {party}",
            mend="append it first, even estimated",
        )
    return found
