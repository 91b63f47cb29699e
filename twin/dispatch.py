"""Who turns an order into a setpoint: at every tick, from the plan's order and the measured net load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.case import Storage
from controller.dispatch import Candidate, net_load_w, order_at, shared_setpoints_w
from controller.plan import FREE_W, Order, Plan
from devices.description import DeviceSpec
from devices.readings import ProcessImage
from twin import assets
from twin.site.schema import Site

FALLBACK = "no valid plan: selfuse"


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What a device is to do until `until_us`: a power in W (bus sign) or a limit on its magnitude, and why."""

    device: str
    value_w: int
    until_us: int
    plan: str
    reason: str


class Dispatcher:
    """The fast loop. Keeps only the last setpoints (dead band) and states of charge (stale meter)."""

    def __init__(self, site: Site, *, max_age_s: float, dead_band_w: float = 0.0) -> None:
        """max_age_s : older samples count as unknown; dead_band_w : smaller changes are not sent."""
        self._site, self._max_age_s, self._dead_band_w = site, max_age_s, dead_band_w
        self._tick_s, self._slot_us = site.time.tick_s, site.time.slot_s * 1_000_000
        self._storages = [spec for spec in site.devices if spec.kind == "storage"]
        self._others = [spec for spec in site.devices if spec.kind in ("turbine", "load", "pv")]
        self._last_w: dict[str, int] = {}
        self._last_soc: dict[str, float] = {}

    def setpoints(self, image: ProcessImage, plan: Plan | None, t_us: int) -> list[Setpoint]:
        """Setpoints of all controllable devices from this tick on; a device left free has none."""
        until_us = (t_us // self._slot_us + 1) * self._slot_us
        result = []
        for net_w, group in self._groups(image):
            candidates = [
                Candidate(self._storage(spec, image), order_at(plan, spec.id, t_us), self._soc(spec, image))
                for spec in group
            ]
            shares = shared_setpoints_w(
                candidates, net_w, self._tick_s, previous_w=self._last_w, dead_band_w=self._dead_band_w
            )
            for candidate in candidates:
                device = candidate.storage.id
                self._last_w[device] = shares[device]
                result.append(Setpoint(device, shares[device], until_us, *_why(plan, candidate.order, net_w)))
        for spec in self._others:
            order = order_at(plan, spec.id, t_us)
            if order is not None and plan is not None and (spec.kind == "turbine" or order.cap_w < FREE_W):
                value = order.p_ref_w if spec.kind == "turbine" else order.cap_w
                result.append(Setpoint(spec.id, value, until_us, *_why(plan, order, None)))
        return result

    def storages(self, image: ProcessImage) -> dict[str, Storage]:
        """Every battery with its measured state."""
        return {spec.id: self._storage(spec, image) for spec in self._storages}

    def _groups(self, image: ProcessImage) -> Iterable[tuple[float | None, list[DeviceSpec]]]:
        """(measured net load without its storages, storages) of each party, or of the site as a whole."""
        if self._site.control.netting == "site":
            yield self._net_w(image, self._site.grid.id, self._storages, sign=-1.0), self._storages
            return
        for party in self._site.parties:
            group = [spec for spec in self._storages if spec.party == party.id]
            if group:
                yield self._net_w(image, party.id, group, sign=1.0), group

    def _net_w(self, image: ProcessImage, party: str, group: list[DeviceSpec], *, sign: float) -> float | None:
        meter_w = image.value(self._site.meter_of(party).id, "p_w", self._max_age_s)
        powers = (image.value(spec.id, "p_w", self._max_age_s) for spec in group)
        return net_load_w(None if meter_w is None else sign * meter_w, powers)

    def _soc(self, spec: DeviceSpec, image: ProcessImage) -> float | None:
        return image.value(spec.id, "soc_pu", self._max_age_s)

    def _storage(self, spec: DeviceSpec, image: ProcessImage) -> Storage:
        unit = assets.with_soc(self._site, spec, image, self._max_age_s, self._last_soc)
        self._last_soc[spec.id] = unit.soc_pu
        return unit


def _why(plan: Plan | None, order: Order | None, net_w: float | None) -> tuple[str, str]:
    """(plan id, reason in words) of a setpoint."""
    if plan is None or order is None:
        return "", FALLBACK
    parts = [order.kind, f"ref {order.p_ref_w} W"]
    if order.value_per_kwh is not None:
        parts.append(f"stored worth {order.value_per_kwh:.4f}/kWh")
    parts.append("meter stale: reference held" if net_w is None and order.kind != "fixed" else "")
    return plan.id, ", ".join(part for part in parts if part)
