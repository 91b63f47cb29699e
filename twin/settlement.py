"""From readings and plans to ledger entries: registrations, prices, dispatch digests, metering, settlement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from controller.plan import Plan
from devices.readings import Reading
from ledger import Books, drafts
from ledger.books import payments
from ledger.chain import Draft
from ledger.errors import ClockBehind
from ledger.keys import KeyRing
from ledger.rules.state import CLEARING
from twin.cases import LedgerFacts
from twin.metering import MeteredSlot, Meterings
from twin.site.schema import Site

NO_PLAN = "none"
MICRO = 1_000_000
SIGNED_US = 3600 * MICRO
"""How often the heads of the households' logs are signed, at full hours; they are anchored at every slot's close."""


class Prices(Protocol):
    """The site's tariff at a slot, currency per kWh."""

    def at(self, slot_us: int) -> tuple[float, float]:
        """(import price, export price)."""
        ...


class Settlement:
    """Writes a site's books. Every stored reading becomes a leaf; a closed slot is settled in one batch of entries."""

    def __init__(self, site: Site, books: Books, keys: KeyRing, prices: Prices) -> None:
        self._site, self._books, self._keys, self._prices = site, books, keys, prices
        time = site.time
        self._slot_us = time.slot_s * MICRO
        self._owner = {spec.id: spec.party for spec in site.devices}
        self._meters = {site.meter_of(party.id).id for party in site.parties}
        self._meterings = Meterings(
            keys.nonce_key(), [spec.id for spec in site.devices], slot_us=self._slot_us, period_us=time.tick_s * MICRO
        )
        self.first_slot_us: int | None = None
        """Start of the first closed slot."""
        self.book: list[Mapping[str, MeteredSlot]] = []
        """Closed slots, in order: device -> what it metered, with later revisions."""
        self.payments: list[Mapping[str, int]] = []
        """Closed slots: party -> micro-currency received (+) or paid (-), after later runs; sums to zero."""
        self._unpriced: set[int] = set()
        self._asked = self._answered = 0
        """Metered slots of parties that trade, and how many of them the rules settled (rate.onchain_rate)."""
        self._settled: dict[int, int] = {}
        """Start of a closed slot -> its place in book and payments."""

    def register(self) -> None:
        """Bind every wallet to its settlement meter and other devices; the first entries of new books."""
        for party in sorted(self._site.parties, key=lambda party: (party.role != "operator", party.id)):
            meter = self._site.meter_of(party.id).id
            others = [spec.id for spec in self._site.devices_of(party.id) if spec.id != meter]
            self._books.register(party.id, party.role, meter=meter, devices=others, keys=self._keys)
        self._books.anchor()

    def in_time(self, readings: Sequence[Reading]) -> list[Reading]:
        """Those young enough to enter a batch; the others may not be stored, for they could never be proved."""
        return [reading for reading in readings if self._meterings.in_time(reading)]

    def collect(self, readings: Sequence[Reading]) -> list[bytes]:
        """Take in readings that are in time and go to the store; returns their nonces, stored beside them."""
        return self._meterings.collect(readings)

    def announce(self, slot_us: int, plan: Plan | None) -> None:
        """Write the slot's prices and its plan's digest, before anything is metered in it.

        Without a plan, parties buy and sell at the site's tariff.
        """
        site, time = self._site, self._site.time
        import_, export = (round(price * MICRO) for price in self._prices.at(slot_us))
        index = 0 if plan is None else int((slot_us - plan.start_us) // self._slot_us)
        buy, sell = {}, {}
        for party in site.parties:
            if party.role == "prosumer":
                buy[party.id] = import_ if plan is None else round(plan.buy_per_kwh[party.id][index] * MICRO)
                sell[party.id] = export if plan is None else round(plan.sell_per_kwh[party.id][index] * MICRO)
        operator, name = site.operator.id, NO_PLAN if plan is None else plan.id
        orders = {} if plan is None else {device: row and row[index] for device, row in plan.orders.items()}
        sent = drafts.dispatch(operator, slot_us=slot_us, slot_s=time.slot_s, plan=name, digest=_digest(orders))
        in_time = self._books.price(
            operator,
            slot_us=slot_us,
            slot_s=time.slot_s,
            buy=buy,
            sell=sell,
            beside=[sent],
            grid=site.grid.id,
            import_price=import_,
            export_price=export,
            plan=name,
            inputs=_digest({} if plan is None else {"start": plan.start_us, "energy": plan.energy_wh}),
            certificate=_digest(None if plan is None else msgspec.structs.replace(plan.certificate, solve_s=None)),
        )
        if not in_time:
            self._unpriced.add(slot_us)

    def close(self, slot_us: int) -> list[str]:
        """Meter and settle the slot that ended, and anew those that readings came late for.

        Returns what a person should know (estimates, unexplained energy, slots settled anew). All logs' heads are
        anchored in each other.
        """
        closed = self._meterings.close(slot_us)
        if self.first_slot_us is None:
            self.first_slot_us = slot_us
        self._settled[slot_us] = len(self.book)
        self.book.append({})
        self.payments.append({})
        findings = self._settle(slot_us, closed)
        if slot_us in self._unpriced:
            self._unpriced.remove(slot_us)
            findings.append("its prices came after it had begun: it is not settled")
        if (slot_us + self._slot_us) % SIGNED_US == 0:
            findings += self._anchor()
        return findings

    def finish(self) -> None:
        """Put the readings after the last settled slot into batches of their own, so that every reading is a leaf.

        Late readings of closed slots are settled; then the last period is closed.
        """
        self._settle(None, self._meterings.close_rest())
        self._anchor()

    def _anchor(self) -> list[str]:
        try:
            self._books.anchor()
        except ClockBehind as error:
            return [f"no head is signed: {error}"]
        return []

    def facts(self) -> LedgerFacts:
        """What the ledger offers to the mechanisms, as of the last settlement."""
        rate = self._answered / self._asked if self._asked else None
        return LedgerFacts(rate, self._books.reputations())

    def _settle(self, slot_us: int | None, closed: Sequence[MeteredSlot]) -> list[str]:
        """Append what was metered and settle the closed slots in it."""
        slots = sorted({slot.start_us for slot in closed} & self._settled.keys())
        made = self._books.settle(slots, [self._metering(slot) for slot in closed], anchored=True)
        asking = self._meters - {self._site.meter_of(self._site.operator.id).id}
        self._asked += sum(slot.rev == 0 and slot.counted and slot.device in asking for slot in closed)
        self._answered += sum(
            draft.type == "settlement" and "party" in draft.body and draft.body["run"] == 0 for draft in made
        )
        for start_us in slots:
            at = self._settled[start_us]
            self.book[at] = {**self.book[at], **{slot.device: slot for slot in closed if slot.start_us == start_us}}
            fresh = payments(draft for draft in made if self._slot_of(draft) == start_us)
            before = self.payments[at]
            both = {name: before.get(name, 0) + fresh.get(name, 0) for name in sorted(before.keys() | fresh.keys())}
            self.payments[at] = {name: micro for name, micro in both.items() if micro or name != CLEARING}
        anew = {self._slot_of(draft) for draft in made if draft.type == "reversal"} - {slot_us}
        found = [f"slot {slot // MICRO} settled anew: readings came late" for slot in sorted(anew)]
        if slot_us is None:
            return found
        here = [draft for draft in made if self._slot_of(draft) == slot_us]
        return self._findings(self.book[self._settled[slot_us]], here) + found

    @staticmethod
    def _slot_of(draft: Draft) -> int:
        """Start of the slot that a settlement entry is about; a reversal's id names what it reverses."""
        if "slot" in draft.body:
            return int(draft.body["slot"])
        return int(draft.body["of"].rsplit(":", 2)[1]) * MICRO

    def _metering(self, slot: MeteredSlot) -> Draft:
        taken, given = slot.taken, slot.given
        registers: dict[str, Any] = {}
        if slot.device in self._meters and slot.counted:
            registers["reg"] = [
                *((taken.start_register_wh, taken.end_register_wh) if taken else (0, 0)),
                *((given.start_register_wh, given.end_register_wh) if given else (0, 0)),
            ]
        return drafts.metering(
            self._owner[slot.device],
            slot.device,
            start_us=slot.start_us,
            period_s=self._site.time.slot_s,
            root=slot.root,
            count=slot.count,
            wh=slot.net_wh,
            quality=slot.quality,
            rev=slot.rev,
            **registers,
        )

    def _findings(self, metered: Mapping[str, MeteredSlot], settled: Sequence[Draft]) -> list[str]:
        found = []
        estimated = sorted(self._meters & {device for device, slot in metered.items() if slot.quality != "actual"})
        if estimated:
            found.append(f"energy estimated for {', '.join(estimated)}")
        found += [f"unexplained energy {d.body['wh']} Wh is above the alarm" for d in settled if d.body.get("alarm")]
        return found


def _digest(value: Any) -> str:
    """SHA-256 of a value's deterministic JSON."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
