"""What was measured so far, as slot means per series: the recording before the run, then the run's own telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from controller.case import FloatArray
from devices.description import DeviceSpec
from devices.readings import ProcessImage
from twin.site.schema import Site


class Recording(Protocol):
    """What history needs of a data set."""

    def slot_means(self, series_id: str, start_us: int, slot_s: int, n: int) -> FloatArray: ...


class History:
    """Slot means of demand (`load/<party>`), interruptible demand (`flex/<device>`) and PV (`pv/<device>`), W, >= 0.

    A slot with a sample missing is NaN: gaps stay gaps. So does a slot in which a limit was in force on the device,
    because what it would have done is not known.
    """

    def __init__(self, site: Site, recording: Recording | None, start_us: int, days: int) -> None:
        """Fill the past from the recording, `days` before the slot of start_us; all NaN without one."""
        self._site, self._slot_us = site, site.time.slot_s * 1_000_000
        self.slots = days * 86_400 // site.time.slot_s
        self.start_us = start_us - start_us % self._slot_us - self.slots * self._slot_us
        self.rows: dict[str, FloatArray] = {}
        for name, series, share in _series(site):
            past = np.full(self.slots, np.nan)
            if recording is not None and series is not None:
                past = recording.slot_means(series, self.start_us, site.time.slot_s, self.slots) * share
            self.rows[name] = past
        self._sums: dict[str, float] = dict.fromkeys(self.rows, 0.0)
        self._count = 0

    @property
    def end_us(self) -> int:
        """Where knowledge ends: everything in `rows` was measured before."""
        return self.start_us + self.slots * self._slot_us

    def observe(self, image: ProcessImage, max_age_s: float) -> None:
        """Take in one tick's image; a missing value makes the whole slot unknown."""
        self._count += 1
        for party in self._site.parties:
            if f"load/{party.id}" in self.rows:
                self._add(f"load/{party.id}", self._load_w(party.id, image, max_age_s))
        for spec in self._site.devices:
            if spec.kind in ("pv", "load"):
                limited = image.value(spec.id, "set_ena", max_age_s)
                p_w = None if limited else image.value(spec.id, "p_w", max_age_s)
                self._add(_name(spec), None if p_w is None else abs(p_w))

    def close_slot(self) -> None:
        """End the slot that was being observed and append its means."""
        for name, total in self._sums.items():
            mean = total / self._count if self._count else np.nan
            self.rows[name] = np.append(self.rows[name], mean)
        self.slots += 1
        self._sums, self._count = dict.fromkeys(self.rows, 0.0), 0

    def _add(self, name: str, p_w: float | None) -> None:
        self._sums[name] += np.nan if p_w is None else max(p_w, 0.0)

    def _load_w(self, party: str, image: ProcessImage, max_age_s: float) -> float | None:
        """Demand that nobody steers: what the party's devices give, less what its meter passes on to the bus."""
        total = image.value(self._site.meter_of(party).id, "p_w", max_age_s)
        if total is None:
            return None
        load_w = -total
        for spec in self._site.devices_of(party):
            if spec.kind != "meter":
                p_w = image.value(spec.id, "p_w", max_age_s)
                if p_w is None:
                    return None
                load_w += p_w
        return load_w


def _name(spec: DeviceSpec) -> str:
    return f"pv/{spec.id}" if spec.kind == "pv" else f"flex/{spec.id}"


def _series(site: Site) -> Iterator[tuple[str, str | None, float]]:
    """(row, series id of the data set or None, share of it) of everything that is forecast."""
    for party in site.parties:
        model = site.meter_of(party.id).model
        if party.role == "prosumer" or (party.role == "operator" and "series" in model):
            yield f"load/{party.id}", model.get("series"), float(model.get("share", 1.0))
    for spec in site.devices:
        if spec.kind in ("pv", "load"):
            yield _name(spec), spec.model.get("series"), float(spec.model.get("share", 1.0))
