"""Case: everything a mechanism may know when it plans. SI units, bus sign at the edges, no protocol, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from controller.plan import Plan

FloatArray = npt.NDArray[np.float64]
Role = Literal["prosumer", "operator", "grid"]


@dataclass(frozen=True, slots=True)
class Party:
    """Who has a wallet."""

    id: str
    role: Role


@dataclass(frozen=True, slots=True)
class Storage:
    """A battery. Wear is currency per kWh of throughput on the bus side."""

    id: str
    party: str
    e_wh: float
    p_charge_w: float
    p_discharge_w: float
    eta_charge: float
    eta_discharge: float
    soc_pu: float
    """State now."""
    soc_min_pu: float = 0.0
    soc_max_pu: float = 1.0
    wear_charge_per_kwh: float = 0.0
    wear_discharge_per_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class Turbine:
    """A dispatchable generator; cost per hour = a*P^2 + b*P + c while on, P in kW."""

    id: str
    party: str
    p_min_w: float
    p_max_w: float
    ramp_w_per_h: float
    cost_a_per_kw2h: float
    cost_b_per_kwh: float
    cost_c_per_h: float
    start_cost: float = 0.0
    stop_cost: float = 0.0
    min_up_s: float = 0.0
    min_down_s: float = 0.0
    on: bool = False
    """State now."""
    p_w: float = 0.0
    held_s: float = 1e9
    """How long it has been in this state."""


@dataclass(frozen=True, slots=True)
class FlexibleLoad:
    """An interruptible load; comfort cost per hour of curtailing x kW = beta*x + beta2*x^2."""

    id: str
    party: str
    demand_w: FloatArray
    """Forecast demand per slot, >= 0."""
    curtail_max_pu: float
    beta_per_kwh: float
    beta2_per_kw2h: float = 4e-4


@dataclass(frozen=True, slots=True)
class Pv:
    """A PV plant with its forecast of available power."""

    id: str
    party: str
    available_w: FloatArray


Asset = Storage | Turbine | FlexibleLoad | Pv


@dataclass(frozen=True, slots=True)
class Tariff:
    """Market prices of the site per slot, currency per kWh; export <= import where exclusivity relies on it."""

    import_per_kwh: FloatArray
    export_per_kwh: FloatArray


@dataclass(frozen=True, slots=True)
class Case:
    """One planning problem. All arrays have one entry per slot of the horizon."""

    site: str
    start_us: int
    slot_s: int
    parties: tuple[Party, ...]
    assets: tuple[Asset, ...]
    load_w: Mapping[str, FloatArray]
    """Forecast mean of each party's uncontrollable demand, >= 0 (flexible loads and PV not included)."""
    tariff: Tariff
    import_max_w: float = float("inf")
    export_max_w: float = float("inf")
    day_ahead: Plan | None = None
    """The plan in force that an intraday window refines; None in stage day_ahead."""
    tail: Tariff | None = None
    """Prices after the horizon (up to a day), for the worth of what is stored at its end."""
    tail_net_w: Mapping[str, FloatArray] = field(default_factory=dict)
    """Forecast net load (demand - available PV) of each party after the horizon, same slots as tail."""
    net_errors_w: Mapping[str, FloatArray] = field(default_factory=dict)
    """How far each party's net load was from its forecast on past days at this time of day, W: (days, slots + tail).
    Mechanisms that plan for scenarios add them to the forecast; empty where nobody keeps them."""
    import_excess_per_kwh: float | None = None
    """None: import_max_w is a hard limit. Else it may be exceeded at this price per kWh above it."""
    onchain_rate: float | None = None
    """Share of the ledger's requests so far that its rules settled by themselves; None before the first."""
    reputation: Mapping[str, float] = field(default_factory=dict)
    """Party -> reputation in [0, 1], of those the ledger has evaluated (paper 001, eqs 5-7)."""

    @property
    def slots(self) -> int:
        """Number of slots of the horizon."""
        return int(self.tariff.import_per_kwh.shape[0])

    @property
    def hours(self) -> float:
        """Length of a slot in hours."""
        return self.slot_s / 3600
