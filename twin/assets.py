"""The site's devices as the controller knows them: ratings, economics and measured state, no protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.case import FlexibleLoad, FloatArray, Pv, Storage, Turbine
from devices.description import DeviceSpec
from devices.models import BatteryParameters
from devices.readings import ProcessImage
from twin.site.schema import LoadCost, Site, StorageCost, TurbineCost

RUNNING_W = 1.0
"""A turbine that gives at least this much counts as on."""


def storage(site: Site, spec: DeviceSpec, soc_pu: float | None = None) -> Storage:
    """A battery of the site; without a measured state of charge, that of its model at the start."""
    model, cost = spec.model, site.cost_of(spec.id)
    assert isinstance(cost, StorageCost)
    eta = BatteryParameters.of(spec).eta
    rating_w = float(model.get("p_w", 0.0))
    return Storage(
        id=spec.id,
        party=spec.party,
        e_wh=float(model["e_wh"]),
        p_charge_w=float(model.get("p_charge_w", rating_w)),
        p_discharge_w=float(model.get("p_discharge_w", rating_w)),
        eta_charge=float(model.get("eta_charge", eta)),
        eta_discharge=float(model.get("eta_discharge", eta)),
        soc_pu=float(model.get("soc0_pu", 0.5)) if soc_pu is None else soc_pu,
        soc_min_pu=float(model.get("soc_min_pu", 0.0)),
        soc_max_pu=float(model.get("soc_max_pu", 1.0)),
        wear_charge_per_kwh=cost.wear_charge_per_kwh,
        wear_discharge_per_kwh=cost.wear_discharge_per_kwh,
    )


def turbine(site: Site, spec: DeviceSpec, run: TurbineRun | None = None, now_us: int = 0) -> Turbine:
    """A turbine of the site with the state it was last seen in."""
    model, cost = spec.model, site.cost_of(spec.id)
    assert isinstance(cost, TurbineCost)
    state = run or TurbineRun()
    return Turbine(
        id=spec.id,
        party=spec.party,
        p_min_w=float(model.get("p_min_w", 0.0)),
        p_max_w=float(model["p_max_w"]),
        ramp_w_per_h=float(model.get("ramp_w_s", model["p_max_w"])) * 3600,
        cost_a_per_kw2h=cost.a_per_kw2h,
        cost_b_per_kwh=cost.b_per_kwh,
        cost_c_per_h=cost.c_per_h,
        start_cost=cost.start,
        stop_cost=cost.stop,
        min_up_s=cost.min_up_s,
        min_down_s=cost.min_down_s,
        on=state.on,
        p_w=state.p_w,
        held_s=1e9 if state.since_us is None else (now_us - state.since_us) / 1e6,
    )


def flexible_load(site: Site, spec: DeviceSpec, demand_w: FloatArray) -> FlexibleLoad:
    """An interruptible load of the site with its forecast demand."""
    cost = site.cost_of(spec.id)
    assert isinstance(cost, LoadCost)
    return FlexibleLoad(
        id=spec.id,
        party=spec.party,
        demand_w=demand_w,
        curtail_max_pu=cost.curtail_max_pu,
        beta_per_kwh=cost.beta_per_kwh,
        beta2_per_kw2h=cost.beta2_per_kw2h,
    )


def pv(spec: DeviceSpec, available_w: FloatArray) -> Pv:
    """A PV plant with its forecast."""
    return Pv(id=spec.id, party=spec.party, available_w=available_w)


@dataclass(slots=True)
class TurbineRun:
    """Whether a turbine runs, at what power, and since when."""

    on: bool = False
    p_w: float = 0.0
    since_us: int | None = None


@dataclass(slots=True)
class TurbineRuns:
    """Follows every turbine's state from the process images."""

    turbines: tuple[str, ...]
    runs: dict[str, TurbineRun] = field(default_factory=dict)

    def observe(self, image: ProcessImage, max_age_s: float) -> None:
        """Take in one image; an unknown power changes nothing."""
        for device in self.turbines:
            p_w = image.value(device, "p_w", max_age_s)
            if p_w is None:
                continue
            run = self.runs.setdefault(device, TurbineRun())
            if (p_w >= RUNNING_W) != run.on:
                run.on, run.since_us = not run.on, image.ts_us
            run.p_w = p_w


def with_soc(site: Site, spec: DeviceSpec, image: ProcessImage, max_age_s: float, last: Mapping[str, float]) -> Storage:
    """The battery with its measured state of charge, or the last one known when the measurement is missing."""
    soc_pu = image.value(spec.id, "soc_pu", max_age_s)
    return storage(site, spec, last.get(spec.id) if soc_pu is None else soc_pu)
