"""Readings on their way to settlement: salted leaves per device and slot, and registers at the slots' edges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import repeat
from operator import truediv
from typing import Any

from devices.points import CATALOGUE, quanta
from devices.readings import Quality, Reading
from ledger import batch, tlog
from ledger.intervals import FOREVER_US, SlotEnergy, slot_energy
from ledger.intervals import Quality as EnergyQuality

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
    def counted(self) -> bool:
        """Whether there is a counter to settle by."""
        return self.taken is not None or self.given is not None

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
    """Counter -> (time, register) in time order, as far back as the oldest slot that can be revised."""
    bad_us: set[int] = field(default_factory=set)
    closed: dict[int, tuple[MeteredSlot, _Leaves]] = field(default_factory=dict)
    """The newest KEPT_SLOTS closed slots with their leaves, for readings that come late."""
    sealed_us: int | None = None
    """End of the closed slots that are no longer kept: what is older can enter no batch any more."""
    touched: set[int] = field(default_factory=set)
    """Closed slots that a reading came late for, or whose edges it may move."""


class Meterings:
    """Collects every stored reading and closes slots; a reading belongs to the slot [start, end) of its time stamp."""

    def __init__(self, nonce_key: bytes, devices: Iterable[str], *, slot_us: int, period_us: int) -> None:
        """`period_us` is how often devices report; edges further apart than twice that are estimated."""
        self._nonce_key, self._slot_us, self._period_us = nonce_key, slot_us, period_us
        self._devices: dict[str, _Device] = {name: _Device() for name in sorted(devices)}

    def in_time(self, reading: Reading) -> bool:
        """Whether the reading can still be a leaf of a batch; one that cannot must not be stored either.

        Nor can one that would move the last edge that is sealed: settled energies would no longer add up.
        """
        device, t_us = self._devices[reading.device], reading.ts_us
        sealed_us = device.sealed_us
        if sealed_us is None or t_us > sealed_us + KEPT_SLOTS * self._slot_us:
            return True
        return t_us >= sealed_us and all(
            any(sealed_us <= known_us < t_us for known_us, _ in samples[:2])
            for samples in device.registers.values()
            if samples
        )

    def collect(self, readings: Sequence[Reading]) -> list[bytes]:
        """Take in readings that are in time; returns the nonce of each, to be stored beside it."""
        return [self._take(reading) for reading in readings]

    def _take(self, reading: Reading) -> bytes:
        device, t_us = self._devices[reading.device], reading.ts_us
        nonce = batch.nonce(self._nonce_key, reading.device, t_us, reading.seq)
        slot_us = t_us - t_us % self._slot_us
        closed = device.closed.get(slot_us)
        leaves = device.leaves if closed is None else closed[1]
        if t_us in leaves and reading.seq < leaves[t_us][0]:
            return nonce  # the store keeps the later word on a moment, too
        again = t_us in leaves
        leaves[t_us] = (reading.seq, tlog.leaf_hash(leaf(reading, nonce)))
        if closed is not None:
            device.touched.add(slot_us)
        for name in COUNTERS:
            register = reading.values.get(name)
            if register is not None or again:
                self._sample(device, name, t_us, None if register is None else int(register))
        if reading.quality is not Quality.GOOD:
            device.bad_us.add(t_us)
            device.touched.update({slot_us, slot_us - self._slot_us} & device.closed.keys())
        elif again:
            device.bad_us.discard(t_us)
        return nonce

    def _sample(self, device: _Device, name: str, t_us: int, register: int | None) -> None:
        """Put a register in its place (None: take it out), and mark the closed slots whose edges it may move."""
        samples = device.registers[name]
        at = bisect_left(samples, (t_us,))
        known = at < len(samples) and samples[at][0] == t_us
        samples[at : at + known] = [] if register is None else [(t_us, register)]
        if device.closed:
            low = samples[at - 1][0] if at else -FOREVER_US
            high = samples[at + 1][0] if at + 1 < len(samples) else FOREVER_US
            newest = next(reversed(device.closed)) + self._slot_us
            if newest > low:
                device.touched.update(start for start in device.closed if start + self._slot_us > low and start < high)

    def close(self, start_us: int) -> list[MeteredSlot]:
        """The slot's batches, one per device; then new revisions of earlier slots that readings came late for."""
        fresh = [self._close(name, device, start_us) for name, device in self._devices.items()]
        revised = self.revisions()
        oldest_us = start_us - KEPT_SLOTS * self._slot_us
        for device in self._devices.values():
            self._seal(device, oldest_us)
        return fresh + revised

    def revisions(self) -> list[MeteredSlot]:
        """New revisions of closed slots that late readings changed: their batch, their energy, or both."""
        found = []
        for name, device in self._devices.items():
            for slot_us in sorted(device.touched & device.closed.keys()):
                before, leaves = device.closed[slot_us]
                after = self._slot(name, device, slot_us, leaves, before.rev)
                if after != before:
                    after = replace(after, rev=before.rev + 1)
                    device.closed[slot_us] = (after, leaves)
                    found.append(after)
            device.touched.clear()
        return found

    def close_rest(self) -> list[MeteredSlot]:
        """Batches of what lies outside all closed slots, per device and the slot it stands in; no energy."""
        found = self.revisions()
        for name, device in self._devices.items():
            for start_us in sorted({ts_us - ts_us % self._slot_us for ts_us in device.leaves}):
                leaves = _taken(device.leaves, start_us, start_us + self._slot_us)
                found.append(MeteredSlot(name, start_us, _root(leaves), len(leaves), None, None))
        return found

    def _close(self, name: str, device: _Device, start_us: int) -> MeteredSlot:
        leaves = _taken(device.leaves, start_us, start_us + self._slot_us)
        slot = self._slot(name, device, start_us, leaves, 0)
        device.closed[start_us] = (slot, leaves)
        return slot

    def _slot(self, name: str, device: _Device, start_us: int, leaves: _Leaves, rev: int) -> MeteredSlot:
        energy = energies(device.registers, device.bad_us, start_us, slot_us=self._slot_us, period_us=self._period_us)
        return MeteredSlot(name, start_us, _root(leaves), len(leaves), *energy, rev)

    def _seal(self, device: _Device, start_us: int) -> None:
        """Let go of a slot that is too old to be revised, and of what only it needed."""
        if device.closed.pop(start_us, None) is None:
            return
        device.sealed_us = sealed_us = start_us + self._slot_us
        device.bad_us = {ts_us for ts_us in device.bad_us if ts_us >= sealed_us}
        for samples in device.registers.values():
            del samples[: max(bisect_left(samples, (sealed_us,)) - 1, 0)]


def energies(
    registers: Mapping[str, Sequence[tuple[int, int]]],
    bad_us: Collection[int],
    start_us: int,
    *,
    slot_us: int,
    period_us: int,
) -> tuple[SlotEnergy | None, SlotEnergy | None]:
    """(energy taken, energy given) of a slot, from all readings of a meter known around it.

    None for a counter without any reading before the slot's end; estimated if a reading in [start, end] was not good.
    """
    end_us = start_us + slot_us
    bad = bool(bad_us) and any(start_us <= ts_us <= end_us for ts_us in bad_us)
    found: list[SlotEnergy | None] = []
    for name in COUNTERS:
        samples = registers[name]
        if not samples or samples[0][0] >= end_us:
            found.append(None)
            continue
        energy = slot_energy(samples, start_us, end_us, period_us, horizon_us=KEPT_SLOTS * slot_us)
        found.append(replace(energy, quality="estimated") if bad else energy)
    return found[0], found[1]


def leaf(reading: Reading, nonce: bytes) -> bytes:
    """Canonical salted bytes of a reading, as its metering batch holds them (CONTRACT, telemetry.db)."""
    whole: Mapping[str, int] = {name: quanta(name, value) for name, value in reading.values.items()}
    return batch.reading_leaf(reading.ts_us, int(reading.quality), whole, nonce)


def leaf_maker(points: Sequence[str]) -> Callable[[int, int, bytes, Sequence[float | int | None]], bytes]:
    """Makes the same leaves from rows: (time, quality, nonce, values of these points in order of their names).

    Three times as fast as `leaf`: for whole runs. Raises ValueError or OverflowError for values that are no numbers.
    """
    if list(points) != sorted(points):
        raise ValueError("points in order of their names")
    columns = [(f'"{name}":', CATALOGUE[name].quantum) for name in points]

    def make(ts_us: int, quality: int, nonce: bytes, values: Sequence[float | int | None]) -> bytes:
        whole = ",".join(
            [
                f"{head}{round(value / quantum)}"
                for (head, quantum), value in zip(columns, values, strict=True)
                if value is not None
            ]
        )
        return f'{{"n":"{nonce.hex()}","p":{{{whole}}},"q":{quality},"t":{ts_us}}}'.encode()

    return make


def leaves_of(points: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """The same leaves of a device's rows (time, sequence number, quality, nonce, *values of these points).

    Column by column where a column is whole or empty: half as long again. b"" of a row that no leaf can be made of.
    """
    make = leaf_maker(points)
    with suppress(ValueError, OverflowError, TypeError):
        return _by_columns(points, rows)
    found = []
    for ts_us, _, quality, nonce, *values in rows:
        try:
            found.append(make(ts_us, quality, nonce, values))
        except (ValueError, OverflowError):
            found.append(b"")
    return found


def _by_columns(points: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """Raises TypeError if a point has a value in some rows only, ValueError or OverflowError if one is no number."""
    if not rows:
        return []
    times_us, _, qualities, nonces, *values = zip(*rows, strict=True)
    columns = zip(points, values, strict=True)
    held = {point: column for point, column in columns if column[0] is not None or any(x is not None for x in column)}
    whole = [map(round, map(truediv, column, repeat(CATALOGUE[point].quantum))) for point, column in held.items()]
    numbers = ",".join(f'"{point}":%d' for point in held)
    form = f'{{"n":"%b","p":{{{numbers}}},"q":%d,"t":%d}}'.encode()
    salts = map(str.encode, map(bytes.hex, nonces))
    return [form % row for row in zip(salts, *whole, qualities, times_us, strict=True)]


def _taken(leaves: _Leaves, start_us: int, end_us: int) -> _Leaves:
    """Leaves of [start, end), taken out of `leaves`."""
    return {ts_us: leaves.pop(ts_us) for ts_us in sorted(leaves) if start_us <= ts_us < end_us}


def _root(leaves: _Leaves) -> str:
    """Merkle root over leaf hashes in time order, as ledger.batch.batch_root gives it over the leaves."""
    return tlog.root(leaves[ts_us][1] for ts_us in sorted(leaves)).hex()
