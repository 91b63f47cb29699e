"""Readings on their way to settlement: salted leaves per device and slot, and registers at the slots' edges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from devices.points import quanta
from devices.readings import Quality, Reading
from ledger import batch, tlog
from ledger.intervals import Quality as EnergyQuality
from ledger.intervals import SlotEnergy, slot_energy

COUNTERS = ("e_imp_wh", "e_exp_wh")
KEPT_SLOTS = 96
"""Closed slots whose batch can still be revised."""


@dataclass(frozen=True, slots=True)
class MeteredSlot:
    """What one device reported in one slot: its batch of readings, and its counted energy if it has counters."""

    device: str
    start_us: int
    root: str
    count: int
    taken: SlotEnergy | None
    given: SlotEnergy | None
    rev: int = 0
    """Counts up when readings of the slot arrive after it was closed."""

    @property
    def net_wh(self) -> int:
        """Energy given minus taken (bus sign)."""
        return (self.given.wh if self.given else 0) - (self.taken.wh if self.taken else 0)

    @property
    def quality(self) -> EnergyQuality:
        """`actual` only if something was read and every register and every reading was good."""
        parts = [part.quality for part in (self.taken, self.given) if part is not None]
        return "actual" if self.count and all(quality == "actual" for quality in parts) else "estimated"


_Leaves = dict[int, tuple[int, bytes]]
"""Time stamp -> sequence number and leaf hash: one reading per moment, as in the store. Leaves themselves are large."""


@dataclass(slots=True)
class _Device:
    leaves: _Leaves = field(default_factory=dict)
    registers: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {name: [] for name in COUNTERS})
    bad_us: list[int] = field(default_factory=list)
    closed_at: dict[str, int] = field(default_factory=dict)
    """Register at which the last slot was closed: the next one opens there, so that no Wh is lost or counted twice."""
    closed: dict[int, tuple[MeteredSlot, _Leaves]] = field(default_factory=dict)
    """The newest KEPT_SLOTS closed slots with their leaves, for readings that come late."""
    sealed_us: int | None = None
    """End of the closed slots that are no longer kept: what is older can enter no batch any more."""
    late: set[int] = field(default_factory=set)


class Meterings:
    """Collects every stored reading and closes slots; a reading belongs to the slot [start, end) of its time stamp."""

    def __init__(self, nonce_key: bytes, devices: Iterable[str], *, slot_us: int, period_us: int) -> None:
        """`period_us` is how often devices report; edges further apart than twice that are estimated."""
        self._nonce_key, self._slot_us, self._period_us = nonce_key, slot_us, period_us
        self._devices: dict[str, _Device] = {name: _Device() for name in sorted(devices)}

    def in_time(self, reading: Reading) -> bool:
        """Whether the reading can still be a leaf of a batch; one that cannot must not be stored either."""
        sealed_us = self._devices[reading.device].sealed_us
        return sealed_us is None or reading.ts_us >= sealed_us

    def collect(self, readings: Sequence[Reading]) -> list[bytes]:
        """Take in readings that are in time; returns the nonce of each, to be stored beside it."""
        return [self._take(reading) for reading in readings]

    def _take(self, reading: Reading) -> bytes:
        device = self._devices[reading.device]
        nonce = batch.nonce(self._nonce_key, reading.device, reading.ts_us, reading.seq)
        slot_us = reading.ts_us - reading.ts_us % self._slot_us
        closed = device.closed.get(slot_us)
        leaves = device.leaves if closed is None else closed[1]
        if reading.ts_us in leaves and reading.seq < leaves[reading.ts_us][0]:
            return nonce  # the store keeps the later word on a moment, too
        leaves[reading.ts_us] = (reading.seq, tlog.leaf_hash(leaf(reading, nonce)))
        if closed is not None:
            device.late.add(slot_us)
        for name in COUNTERS:
            if (register := reading.values.get(name)) is not None:
                _insert(device.registers[name], reading.ts_us, int(register))
        if reading.quality is not Quality.GOOD:
            device.bad_us.append(reading.ts_us)
        return nonce

    def close(self, start_us: int) -> list[MeteredSlot]:
        """The slot's batches, one per device; then new revisions of earlier slots that readings came late for."""
        end_us = start_us + self._slot_us
        fresh = [self._close(name, device, start_us, end_us) for name, device in self._devices.items()]
        return fresh + self.revisions()

    def revisions(self) -> list[MeteredSlot]:
        """Batches of closed slots with the readings that came late; energies stay as they were settled."""
        found = []
        for device in self._devices.values():
            for slot_us in sorted(device.late):
                before, leaves = device.closed[slot_us]
                after = replace(before, root=_root(leaves), count=len(leaves), rev=before.rev + 1)
                device.closed[slot_us] = (after, leaves)
                found.append(after)
            device.late.clear()
        return found

    def close_rest(self) -> list[MeteredSlot]:
        """Batches of what lies outside all closed slots, per device and the slot it stands in; no energy."""
        found = []
        for name, device in self._devices.items():
            for start_us in sorted({ts_us - ts_us % self._slot_us for ts_us in device.leaves}):
                leaves = _taken(device.leaves, start_us, start_us + self._slot_us)
                found.append(MeteredSlot(name, start_us, _root(leaves), len(leaves), None, None))
        return found + self.revisions()

    def _close(self, name: str, device: _Device, start_us: int, end_us: int) -> MeteredSlot:
        leaves = _taken(device.leaves, start_us, end_us)
        bad = any(start_us <= ts_us <= end_us for ts_us in device.bad_us)
        device.bad_us = [ts_us for ts_us in device.bad_us if ts_us >= end_us]
        energy = {point: self._energy(device, point, start_us, end_us, bad) for point in COUNTERS}
        slot = MeteredSlot(name, start_us, _root(leaves), len(leaves), energy["e_imp_wh"], energy["e_exp_wh"])
        device.closed[start_us] = (slot, leaves)
        oldest_us = start_us - KEPT_SLOTS * self._slot_us
        if device.closed.pop(oldest_us, None) is not None:
            device.sealed_us = oldest_us + self._slot_us
        return slot

    def _energy(self, device: _Device, point: str, start_us: int, end_us: int, bad: bool) -> SlotEnergy | None:
        samples = device.registers[point]
        if not samples:
            return None
        energy = slot_energy(samples, start_us, end_us, self._period_us, opened_at=device.closed_at.get(point))
        keep = max(bisect_left(samples, (end_us,)) - 1, 0)
        # After an exchange of the meter the energy counts on from the old register, the next slot's samples do not.
        lift = sum(max(before - after, 0) for (_, before), (_, after) in pairwise(samples[: keep + 1]))
        device.closed_at[point] = energy.end_register_wh - lift
        del samples[:keep]
        if bad and energy.quality == "actual":
            return SlotEnergy(energy.wh, "estimated", energy.start_register_wh, energy.end_register_wh)
        return energy


def leaf(reading: Reading, nonce: bytes) -> bytes:
    """Canonical salted bytes of a reading, as its metering batch holds them (CONTRACT, telemetry.db)."""
    whole: Mapping[str, int] = {name: quanta(name, value) for name, value in reading.values.items()}
    return batch.reading_leaf(reading.ts_us, int(reading.quality), whole, nonce)


def _taken(leaves: _Leaves, start_us: int, end_us: int) -> _Leaves:
    """Leaves of [start, end), taken out of `leaves`."""
    return {ts_us: leaves.pop(ts_us) for ts_us in sorted(leaves) if start_us <= ts_us < end_us}


def _root(leaves: _Leaves) -> str:
    """Merkle root over leaf hashes in time order, as ledger.batch.batch_root gives it over the leaves."""
    return tlog.root(leaves[ts_us][1] for ts_us in sorted(leaves)).hex()


def _insert(samples: list[tuple[int, int]], ts_us: int, register: int) -> None:
    """Keep samples in time order; the newest word on one moment stands."""
    at = bisect_left(samples, (ts_us,))
    if at < len(samples) and samples[at][0] == ts_us:
        samples[at] = (ts_us, register)
    else:
        samples.insert(at, (ts_us, register))
