"""Settlement of a slot under the rule `price_taker`: entries computed from what the ledger holds, nothing else.

Each party sells what it gave and buys what it took, against the operator, at the prices written before the slot (what
it traded by contract is settled at the contract's price); the operator settles the grid meter at the tariff the same
way; what no meter explains goes to the account `residual`. A party with a log of its own is settled there, its side of
contracts and its share of the residual included, and the main log takes over the totals.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

from ledger import drafts
from ledger.apart import Settled, Side, commitment
from ledger.chain import Draft
from ledger.errors import LedgerError
from ledger.rules import State
from ledger.rules.closing import clearing_postings, residual_figures
from ledger.rules.settlement import contract_postings, flow, own_contract_postings, price_taker_postings
from ledger.rules.state import CLEARING, RESIDUAL

US = 1_000_000


def foreseen(state: State, meterings: Sequence[Draft]) -> State:
    """The state as these metering entries will leave it, so that they and their settlement make one transaction."""
    facts: dict[tuple[Any, ...], Any] = {}
    for draft in meterings:
        body = draft.body
        found = (draft.id, body["rev"], body["wh"], body["quality"], body["period_s"])
        facts["metered", body["device"], body["start"]] = found
    return ChainMap(facts, state)  # type: ignore[arg-type]


def settle_slot(
    state: State, slot_us: int, apart: Mapping[str, Settled] | None = None, sides: Sequence[Side] = ()
) -> list[Draft]:
    """The entries that settle a slot, from prices and latest metering in the ledger; to be appended in one batch.

    apart : what stands in the parties' own logs for this slot, by party
    sides : in a party's own log, its contracts of this slot
    What stands and still rests on the latest metering is left alone; what rests on an older revision is reversed and
    settled anew (next run), and the residual with it. A party without a price for the slot is not settled.
    Raises LedgerError if a party with a settlement meter has no metering of the slot.
    """
    work = _Work(state, slot_us)
    for contract in state.get(("contracts", slot_us), ()):
        work.contract(contract)
    for side in sides:
        work.side(side)
    operator = state[("genesis",)]["operator"]
    for party in state.get(("parties",), ()):
        if party != operator and ("apart", party) not in state and state.get(("meter", party)):
            work.party(party)
    if apart:
        work.clearing(apart)
    return work.undone + work.made + work.residual()


class _Work:
    """One slot on its way: reversals and new entries, and the flow as they will leave it."""

    def __init__(self, state: State, slot_us: int) -> None:
        self._state, self._slot_us = state, slot_us
        self._genesis = state[("genesis",)]
        self._operator = self._genesis["operator"]
        self._after: dict[tuple[Any, ...], Any] = {}
        self.undone: list[Draft] = []
        self.made: list[Draft] = []

    def contract(self, identity: str) -> None:
        """A contract is settled once, in full."""
        if self._last("settled", identity)[2]:
            return
        _, buyer, seller, wh, rate = self._state["contract", identity]
        postings = contract_postings(self._state, buyer, seller, wh, rate)
        if not postings:
            return  # settled in the logs of both sides
        run = self._last("settled", identity)[1] + 1
        body = {
            "contract": identity,
            "slot": self._slot_us,
            "run": run,
            "price_micro": rate,
            "wh": wh,
            "postings": postings,
        }
        self.made.append(Draft("settlement", body, f"stl:{identity}:{run}", self._operator))

    def side(self, side: Side) -> None:
        """A party's side of a contract is settled once, in full, and counts before the rest."""
        party = self._genesis["party"]
        if ("contract", side.contract) not in self._state:
            self._after["traded", party, self._slot_us] = self._traded(party) + side.wh
        _, run, standing = self._last("settled", side.contract)
        if standing:
            return
        body = {
            "contract": side.contract,
            "leaf": side.leaf,
            "slot": self._slot_us,
            "run": run + 1,
            "price_micro": side.price_micro,
            "wh": side.wh,
            "postings": own_contract_postings(party, side.wh, side.price_micro),
        }
        self.made.append(Draft("settlement", body, f"stl:{side.contract}:{run + 1}", self._operator))

    def party(self, party: str) -> None:
        """Nothing, a first settlement, or a reversal and the next run."""
        state, slot_us = self._state, self._slot_us
        price_id = state.get(("priced", party, slot_us))
        if price_id is None:
            return
        identity, _, wh, quality, _ = self._metered(party)
        _, run, standing = self._last("settled", party)
        traded = self._traded(party)
        unchanged = traded == state.get(("traded", party, slot_us), 0)
        if standing and not self._undo("settled", party, identity if unchanged else None):
            return
        _, buy, sell = state["price", price_id]
        rate, postings = price_taker_postings(self._genesis, party, wh - traded, buy, sell)
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
            **({"traded": traded} if traded else {}),
        }
        self._flow(party, (max(wh, 0), max(-wh, 0), wh, 1))
        self.made.append(Draft("settlement", body, f"stl:{party}:{slot_us // US}:{run + 1}", self._operator))

    def clearing(self, apart: Mapping[str, Settled]) -> None:
        """The totals of the parties' own logs."""
        root = commitment(apart[party].leaf for party in sorted(apart))
        _, run, standing = self._last(CLEARING, CLEARING)
        if standing and not self._undo(CLEARING, CLEARING, root):
            return
        given = sum(max(one.wh, 0) for one in apart.values())
        taken = sum(max(-one.wh, 0) for one in apart.values())
        micro = sum(one.micro for one in apart.values())
        traded = sum(one.traded_wh for one in apart.values())
        body = {
            "slot": self._slot_us,
            "run": run + 1,
            "count": len(apart),
            "root": root,
            "given_wh": given,
            "taken_wh": taken,
            "micro": micro,
            "postings": clearing_postings(self._operator, micro, given - taken, traded),
            **({"traded_wh": traded} if traded else {}),
        }
        self._flow(CLEARING, (given, taken, given + taken, len(apart)))
        self.made.append(Draft("clearing", body, f"clr:{self._slot_us // US}:{run + 1}", self._operator))

    def residual(self) -> list[Draft]:
        """The entry that closes the slot, after the reversal of the one that stood; nothing if nothing changed."""
        state, slot_us, grid = self._state, self._slot_us, self._genesis["grid"]
        price_id = state.get(("priced", grid, slot_us))
        if price_id is None or grid not in state["price", price_id][2]:
            return []
        own_id, own_wh = "", 0
        if state.get(("meter", self._operator)):
            own_id, _, own_wh, _, _ = self._metered(self._operator)
        _, run, standing = self._last(RESIDUAL, RESIDUAL)
        before = len(self.undone)
        if standing and not self._undo(RESIDUAL, RESIDUAL, None if self.made else own_id):
            return []
        figures = residual_figures(
            ChainMap(self._after, state),  # type: ignore[arg-type]
            slot_us,
            own_wh,
            state["price", price_id][2][grid],
        )
        body = {"slot": slot_us, "run": run + 1, "price": price_id, "metering": own_id, **figures}
        undo, self.undone = self.undone[before:], self.undone[:before]
        return [*undo, Draft("residual", body, f"res:{slot_us // US}:{run + 1}", self._operator)]

    def _traded(self, party: str) -> int:
        """What a party sold (+) or bought (-) by contracts of the slot, those settled now included."""
        key = ("traded", party, self._slot_us)
        found: int = self._after[key] if key in self._after else self._state.get(key, 0)
        return found

    def _last(self, kind: str, name: str) -> tuple[str, int, bool]:
        found: tuple[str, int, bool] = self._state.get((kind, name, self._slot_us), ("", -1, False))
        return found

    def _undo(self, kind: str, name: str, rests_on: str | None) -> bool:
        """Reverse what stands unless it rests on this; says whether it did."""
        identity = self._last(kind, name)[0]
        if self._state.get(("rests_on", identity)) == rests_on:
            return False
        *_, moved, postings = self._state["posted", identity]
        self.undone.append(drafts.reversal(self._operator, of=identity, postings=postings, reason="later readings"))
        if moved:
            self._flow(name, moved, -1)
        return True

    def _flow(self, name: str, moved: tuple[int, int, int, int], sign: int = 1) -> None:
        self._after.update(flow(ChainMap(self._after, self._state), self._slot_us, name, moved, sign))  # type: ignore[arg-type]

    def _metered(self, party: str) -> tuple[str, int, int, str, int]:
        """(entry id, revision, Wh, quality, period) of the latest metering of a party's meter."""
        meter = self._state["meter", party]
        found: tuple[str, int, int, str, int] | None = self._state.get(("metered", meter, self._slot_us))
        if found is None:
            raise LedgerError(
                f"no metering of {meter} for slot {self._slot_us // US}",
                where=f"settlement of {party}",
                mend="append it first, even estimated",
            )
        return found
