"""Readings on their way to settlement: salted leaves per device and slot, and registers at the slots' edges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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


@dataclass(slots=True)
class _Device:
    leaves: list[tuple[int, bytes]] = field(default_factory=list)
    registers: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {name: [] for name in COUNTERS})
    bad_us: list[int] = field(default_factory=list)
    closed_at: dict[str, int] = field(default_factory=dict)
    """Register at which the last slot was closed: the next one opens there, so that no Wh is lost or counted twice."""
    closed: dict[int, tuple[MeteredSlot, list[tuple[int, bytes]]]] = field(default_factory=dict)
    """The newest KEPT_SLOTS closed slots with their leaves, for readings that come late."""
    late: set[int] = field(default_factory=set)


class Meterings:
    """Collects every stored reading and closes slots; a reading belongs to the slot [start, end) of its time stamp."""

    def __init__(self, nonce_key: bytes, devices: Iterable[str], *, slot_us: int, period_us: int) -> None:
        """`period_us` is how often devices report; edges further apart than twice that are estimated."""
        self._nonce_key, self._slot_us, self._period_us = nonce_key, slot_us, period_us
        self._devices: dict[str, _Device] = {name: _Device() for name in sorted(devices)}

    def collect(self, readings: Sequence[Reading]) -> list[bytes]:
        """Take in readings; returns the nonce of each, to be stored beside it."""
        return [self._take(reading) for reading in readings]

    def _take(self, reading: Reading) -> bytes:
        device = self._devices[reading.device]
        nonce = batch.nonce(self._nonce_key, reading.device, reading.ts_us, reading.seq)
        slot_us = reading.ts_us - reading.ts_us % self._slot_us
        entry = (reading.ts_us, tlog.leaf_hash(leaf(reading, nonce)))  # only the hash is kept: leaves are large
        if slot_us in device.closed:
            device.closed[slot_us][1].append(entry)
            device.late.add(slot_us)
        else:
            device.leaves.append(entry)
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
        """One batch per device of what came after the last closed slot, named by the slot it stands in; no energy."""
        found = []
        for name, device in self._devices.items():
            starts = sorted({ts_us - ts_us % self._slot_us for ts_us, _ in device.leaves})
            for start_us in starts:
                leaves = [entry for entry in device.leaves if start_us <= entry[0] < start_us + self._slot_us]
                found.append(MeteredSlot(name, start_us, _root(leaves), len(leaves), None, None))
            device.leaves = []
        return found + self.revisions()

    def _close(self, name: str, device: _Device, start_us: int, end_us: int) -> MeteredSlot:
        leaves = [entry for entry in device.leaves if start_us <= entry[0] < end_us]
        device.leaves = [entry for entry in device.leaves if entry[0] >= end_us]
        bad = any(start_us <= ts_us <= end_us for ts_us in device.bad_us)
        device.bad_us = [ts_us for ts_us in device.bad_us if ts_us >= end_us]
        energy = {point: self._energy(device, point, start_us, end_us, bad) for point in COUNTERS}
        slot = MeteredSlot(name, start_us, _root(leaves), len(leaves), energy["e_imp_wh"], energy["e_exp_wh"])
        device.closed[start_us] = (slot, leaves)
        device.closed.pop(start_us - KEPT_SLOTS * self._slot_us, None)
        return slot

    def _energy(self, device: _Device, point: str, start_us: int, end_us: int, bad: bool) -> SlotEnergy | None:
        samples = device.registers[point]
        if not samples:
            return None
        energy = slot_energy(samples, start_us, end_us, self._period_us, opened_at=device.closed_at.get(point))
        device.closed_at[point] = energy.end_register_wh
        keep = max(bisect_left(samples, (end_us,)) - 1, 0)
        del samples[:keep]
        if bad and energy.quality == "actual":
            return SlotEnergy(energy.wh, "estimated", energy.start_register_wh, energy.end_register_wh)
        return energy


def leaf(reading: Reading, nonce: bytes) -> bytes:
    """Canonical salted bytes of a reading, as its metering batch holds them (CONTRACT, telemetry.db)."""
    whole: Mapping[str, int] = {name: quanta(name, value) for name, value in reading.values.items()}
    return batch.reading_leaf(reading.ts_us, int(reading.quality), whole, nonce)


def _root(leaves: list[tuple[int, bytes]]) -> str:
    """Merkle root over leaf hashes in time order, as ledger.batch.batch_root gives it over the leaves."""
    return tlog.root(hashed for _, hashed in sorted(leaves)).hex()


def _insert(samples: list[tuple[int, int]], ts_us: int, register: int) -> None:
    """Keep samples in time order; the newest word on one moment stands."""
    at = bisect_left(samples, (ts_us,))
    if at < len(samples) and samples[at][0] == ts_us:
        samples[at] = (ts_us, register)
    else:
        samples.insert(at, (ts_us, register))
