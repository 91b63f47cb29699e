"""From readings and plans to ledger entries: registrations, prices, dispatch digests, metering, settlement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from controller.plan import Plan
from devices.readings import Reading
from ledger import Ledger, drafts, settle
from ledger.chain import Draft
from ledger.keys import KeyRing
from twin.metering import MeteredSlot, Meterings
from twin.site.schema import Site

NO_PLAN = "none"
MICRO = 1_000_000


class Prices(Protocol):
    """The site's tariff at a slot, currency per kWh."""

    def at(self, slot_us: int) -> tuple[float, float]:
        """(import price, export price)."""
        ...


class Settlement:
    """Writes a site's ledger. Every stored reading becomes a leaf; a closed slot is settled in one batch of entries."""

    def __init__(self, site: Site, ledger: Ledger, keys: KeyRing, prices: Prices) -> None:
        self._site, self._ledger, self._keys, self._prices = site, ledger, keys, prices
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
        """Closed slots, in order: device -> what it metered."""
        self.payments: list[Mapping[str, int]] = []
        """Closed slots: party -> micro-currency received (+) or paid (-); sums to zero."""

    def register(self) -> None:
        """Bind every wallet to its settlement meter and other devices; the first entries of a new ledger."""
        batch = []
        for party in sorted(self._site.parties, key=lambda party: (party.role != "operator", party.id)):
            meter = self._site.meter_of(party.id).id
            others = [spec.id for spec in self._site.devices_of(party.id) if spec.id != meter]
            batch.append(drafts.registration(party.id, party.role, meter=meter, devices=others, keys=self._keys))
        self._ledger.append_many(batch)
        self._ledger.checkpoint()

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
        price = drafts.price(
            operator,
            slot_us=slot_us,
            slot_s=time.slot_s,
            buy=buy,
            sell=sell,
            grid=site.grid.id,
            import_price=import_,
            export_price=export,
            plan=name,
            inputs=_digest({} if plan is None else {"start": plan.start_us, "energy": plan.energy_wh}),
            certificate=_digest(None if plan is None else msgspec.structs.replace(plan.certificate, solve_s=None)),
        )
        orders = {} if plan is None else {device: row and row[index] for device, row in plan.orders.items()}
        sent = drafts.dispatch(operator, slot_us=slot_us, slot_s=time.slot_s, plan=name, digest=_digest(orders))
        self._ledger.append_many([price, sent])

    def close(self, slot_us: int) -> list[str]:
        """Meter and settle the slot that ended; returns what a person should know (estimates, unexplained energy)."""
        closed = self._meterings.close(slot_us)
        self._ledger.append_many([self._metering(slot) for slot in closed])
        metered = {slot.device: slot for slot in closed if slot.start_us == slot_us}
        settled = settle.settle_slot(self._ledger.state, slot_us)
        self._ledger.append_many(settled)
        self._ledger.checkpoint()
        if self.first_slot_us is None:
            self.first_slot_us = slot_us
        self.book.append(metered)
        self.payments.append(_payments(settled))
        return self._findings(metered, settled)

    def finish(self) -> None:
        """Put the readings after the last settled slot into batches of their own, so that every reading is a leaf."""
        self._ledger.append_many([self._metering(slot) for slot in self._meterings.close_rest()])

    def _metering(self, slot: MeteredSlot) -> Draft:
        taken, given = slot.taken, slot.given
        registers: dict[str, Any] = {}
        if slot.device in self._meters:
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


def _payments(settled: Sequence[Draft]) -> dict[str, int]:
    """Micro-currency per account over all postings of a batch."""
    total: dict[str, int] = {}
    for draft in settled:
        for account, micro, _wh in draft.body.get("postings", ()):
            total[account] = total.get(account, 0) + micro
    return total
