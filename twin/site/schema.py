"""What a site is made of, as values that cannot be half right: built only by twin.site.loader."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from controller.case import Party
from controller.plan import Budget
from devices.description import DeviceSpec, LinkSpec

SCHEMA = 1
"""Newest site file version this program reads."""

Mode = Literal["monitor", "shadow", "limited", "full"]
Netting = Literal["party", "site"]
Days = Literal["all", "workdays", "weekend"]


@dataclass(frozen=True, slots=True)
class TimeSpec:
    """Steps of the loop, seconds. `gate` is the local time of day at which the day ahead is planned."""

    tick_s: int = 60
    slot_s: int = 900
    lease_s: int = 180
    """How long a setpoint lives without refresh; at least 60 s and three ticks."""
    gate: str = "00:00"
    plan_delay_s: int = 0
    """A plan asked for at t takes effect at t + plan_delay_s."""
    physics_s: int = 60
    """Step of the emulated plant in lockstep."""


@dataclass(frozen=True, slots=True)
class MechanismSpec:
    """The market mechanism and the work it may spend."""

    name: str = "twostage"
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True, slots=True)
class ForecastSpec:
    """How demand and PV are forecast."""

    method: str = "similar_days"
    """A name of controller.forecast.METHODS."""
    intervals: bool = True
    """Whether calibrated quantiles are made and stored beside the means."""


@dataclass(frozen=True, slots=True)
class ControlSpec:
    """Whether anything is written to devices, and against whose measured net load orders are followed."""

    enabled: bool = True
    mode: Mode = "full"
    netting: Netting = "party"
    """`party`: each home's own meter; `site`: the sum over the site."""
    cap_w: float = float("inf")
    """Largest magnitude of a setpoint in mode limited, for devices without a cap of their own."""
    ramp_w_s: float = float("inf")
    """Largest change of a setpoint per second in mode limited."""


@dataclass(frozen=True, slots=True)
class Hours:
    """From `start_min` to `end_min`, local minutes of the day, on `days` of `months`."""

    start_min: int
    end_min: int
    """Up to 1440; smaller than start_min = over midnight (the part after midnight counts for its own day)."""
    days: Days = "all"
    months: tuple[int, ...] = tuple(range(1, 13))

    def applies(self, month: int, weekday: int, minute: int) -> bool:
        """Whether a local minute of the day lies in them; weekday 0 = Monday."""
        if month not in self.months or (self.days != "all" and (weekday >= 5) != (self.days == "weekend")):
            return False
        if self.start_min < self.end_min:
            return self.start_min <= minute < self.end_min
        return minute >= self.start_min or minute < self.end_min


@dataclass(frozen=True, slots=True)
class TariffBlock:
    """A time-of-use price: applies on `days` of `months` from `start_min` to `end_min`, local minutes of the day."""

    start_min: int
    end_min: int
    """Up to 1440; smaller than start_min = over midnight (the part after midnight counts for its own day)."""
    per_kwh: float
    days: Days = "all"
    months: tuple[int, ...] = tuple(range(1, 13))

    def applies(self, month: int, weekday: int, minute: int) -> bool:
        """Whether this block prices a local minute of the day; weekday 0 = Monday."""
        return Hours(self.start_min, self.end_min, self.days, self.months).applies(month, weekday, minute)


Price = str | float | tuple[TariffBlock, ...]
"""A series id of the data set, a constant, or time-of-use blocks (the first that applies)."""


@dataclass(frozen=True, slots=True)
class TariffSpec:
    """Market prices of the site, currency per kWh."""

    import_: Price
    export_per_kwh: Price


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """Which MQTT broker: `embedded` True = our own, False = the one at host and port, None = mosquitto if found."""

    embedded: bool | None = None
    host: str = "127.0.0.1"
    port: int = 0
    username: str | None = None
    """Its password comes from VPPTWIN_BROKER_PASSWORD, never from a site file."""
    tls_ca: str | None = None
    """Path of the authority that signed the broker's certificate; given = TLS."""
    home_assistant: bool = False
    """Whether the service tells Home Assistant, through the broker, what the MQTT devices report."""


@dataclass(frozen=True, slots=True)
class LimitBlock:
    """Limits at the grid meter that hold at certain hours, W, both >= 0."""

    hours: Hours
    import_max_w: float = float("inf")
    export_max_w: float = float("inf")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Limits at the grid meter, W, both >= 0; infinite where not given."""

    import_max_w: float = float("inf")
    export_max_w: float = float("inf")
    times: tuple[LimitBlock, ...] = ()
    """What holds besides at certain hours, as when the network's operator dims; the tightest counts."""

    def at(self, local: dt.datetime) -> tuple[float, float]:
        """(largest import, largest export) at a local time."""
        minute = local.hour * 60 + local.minute
        now = [one for one in self.times if one.hours.applies(local.month, local.weekday(), minute)]
        return (
            min(self.import_max_w, *(one.import_max_w for one in now), math.inf),
            min(self.export_max_w, *(one.export_max_w for one in now), math.inf),
        )


@dataclass(frozen=True, slots=True)
class TurbineCost:
    """Cost per hour = a*P^2 + b*P + c while on, P in kW; costs per start and stop; shortest times in a state."""

    a_per_kw2h: float = 0.0
    b_per_kwh: float = 0.0
    c_per_h: float = 0.0
    start: float = 0.0
    stop: float = 0.0
    min_up_s: float = 0.0
    min_down_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StorageCost:
    """Wear, currency per kWh of throughput on the bus side."""

    wear_charge_per_kwh: float = 0.0
    wear_discharge_per_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadCost:
    """Comfort cost per hour of curtailing x kW = beta*x + beta2*x^2, paid to the owner; largest share curtailed."""

    beta_per_kwh: float = 0.0
    beta2_per_kw2h: float = 4e-4
    curtail_max_pu: float = 1.0


Cost = TurbineCost | StorageCost | LoadCost


@dataclass(frozen=True, slots=True)
class Site:
    """One site, checked as a whole."""

    id: str
    zone: str
    currency: str
    start: dt.date | dt.datetime | None
    """A date (local midnight), a local or zoned date and time, or None = 28 days after the data begins."""
    time: TimeSpec
    mechanism: MechanismSpec
    control: ControlSpec
    tariff: TariffSpec
    data: Path | None
    """Folder of the data set; None where no series is used."""
    broker: BrokerChoice
    network: NetworkSpec
    parties: tuple[Party, ...]
    links: tuple[LinkSpec, ...]
    devices: tuple[DeviceSpec, ...]
    costs: Mapping[str, Cost]
    """Economics of every turbine, storage and flexible load, by device id."""
    assumptions: tuple[str, ...]
    """Sentences for the report: everything that was assumed, not measured."""
    path: Path
    sha256: str
    """Of the site file's bytes, for the manifest."""
    forecast: ForecastSpec = field(default_factory=ForecastSpec)

    @property
    def operator(self) -> Party:
        """The party that runs the site."""
        return next(party for party in self.parties if party.role == "operator")

    @property
    def grid(self) -> Party:
        """The party behind the grid meter."""
        return next(party for party in self.parties if party.role == "grid")

    def device(self, id: str) -> DeviceSpec:
        """The device of that id. Raises KeyError."""
        for spec in self.devices:
            if spec.id == id:
                return spec
        raise KeyError(id)

    def link(self, id: str) -> LinkSpec:
        """The link of that id. Raises KeyError."""
        for spec in self.links:
            if spec.id == id:
                return spec
        raise KeyError(id)

    def devices_of(self, party: str, kind: str | None = None) -> tuple[DeviceSpec, ...]:
        """Devices of a party, of one kind if given, in the order of the file."""
        return tuple(d for d in self.devices if d.party == party and (kind is None or d.kind == kind))

    def meter_of(self, party: str) -> DeviceSpec:
        """The settlement meter of a party (the grid's is the grid meter)."""
        return self.devices_of(party, "meter")[0]

    def cost_of(self, device: str) -> Cost:
        """Economics of a turbine, storage or flexible load. Raises KeyError for other devices."""
        return self.costs[device]
