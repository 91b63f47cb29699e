"""The emulated devices as seen from the bus: each steps its physics under a command and says what it would report.

A machine knows nothing of registers or topics. `p_w` is constant over a physics step; `known` is False when its data
has a gap there: the flow counts as 0 and `p_w` is not reported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

from devices.description import DeviceSpec
from devices.emulator.behaviour import Behaviour
from devices.emulator.nameplate import Nameplate
from devices.emulator.unit import Command, Values
from devices.errors import DeviceError
from devices.models import battery, load, pv, turbine
from devices.models.counter import EnergyCounters

Demand = Callable[[str], float | None]
"""Series id -> mean W over the step at hand, None for a gap."""

_AMBIENT_C, _HEATING_C = 25.0, 15.0
"""Indication only: cabinet temperature rises linearly with load."""
_SLEEPING, _RUNNING, _THROTTLED, _STANDBY = 1, 3, 4, 7
"""SunSpec 701.InvSt."""


class Machine(ABC):
    """Base: power, energy counters, what all of them report."""

    def __init__(self, device: DeviceSpec, plate: Nameplate) -> None:
        self.device = device
        self.plate = plate
        self.p_w = 0.0
        self.known = True
        self.counters = EnergyCounters.zero()

    @property
    def asleep(self) -> bool:
        """Whether there is nothing to do for it, so that it may switch itself off."""
        return False

    @abstractmethod
    def power(self, dt_s: float, command: Command, demand: Demand) -> float:
        """Bus power over the next dt_s; 0 s initialises."""

    def step(self, dt_s: float, command: Command, demand: Demand) -> None:
        """Advance by dt_s >= 0."""
        self.p_w = self.power(dt_s, command, demand)
        if dt_s > 0:
            self.counters.integrate(self.p_w, dt_s)

    def report(self, u_v: float, f_hz: float) -> Values:
        """Catalogue points, unrounded; None = bad."""
        p_w = self.p_w if self.known else None
        return {
            "p_w": p_w,
            "q_var": None if p_w is None else 0.0,
            "s_va": None if p_w is None else abs(p_w),
            "e_imp_wh": self.counters.imported.whole_wh,
            "e_exp_wh": self.counters.exported.whole_wh,
            "u1_v": u_v,
            "f_hz": f_hz,
            "t_c": _AMBIENT_C + _HEATING_C * abs(self.p_w) / max(self.plate.p_max_w, 1.0),
            "alarm": 0,
        }


class BatteryMachine(Machine):
    """Follows the setpoint in force; without one it idles."""

    def __init__(self, device: DeviceSpec, behaviour: Behaviour) -> None:
        given = battery.BatteryParameters.of(device)
        given = replace(given, eta=behaviour.eta or given.eta)
        self.parameters = replace(given, ramp_w_s=min(given.ramp_w_s, behaviour.ramp_w_s))
        self.state = battery.BatteryState.initial(self.parameters)
        super().__init__(device, Nameplate(given.p_charge_w, given.p_discharge_w, given.e_wh))

    def power(self, dt_s: float, command: Command, demand: Demand) -> float:
        if dt_s <= 0:
            return self.state.p_w
        return battery.step(self.parameters, self.state, dt_s, min(command.p_set_w or 0.0, command.p_max_w))

    def report(self, u_v: float, f_hz: float) -> Values:
        e_min_wh = self.parameters.soc_min_pu * self.parameters.e_wh
        return {
            **super().report(u_v, f_hz),
            "soc_pu": self.state.soc_pu(self.parameters),
            "soh_pu": 1.0,
            "e_wh": max(self.state.e_wh - e_min_wh, 0.0),
            "state": _RUNNING if self.p_w else _STANDBY,
            "mode": 0,
        }


class PvMachine(Machine):
    """Follows the data, curtailed by the limit in force."""

    def __init__(self, device: DeviceSpec, behaviour: Behaviour) -> None:
        self.parameters = pv.PvParameters.of(device)
        self._available_w = 0.0
        super().__init__(device, Nameplate(0.0, self.parameters.peak_w))

    def power(self, dt_s: float, command: Command, demand: Demand) -> float:
        available = demand(self.parameters.series)
        self.known = available is not None
        self._available_w = 0.0 if available is None else max(available, 0.0)
        return pv.power_w(self.parameters, self._available_w, command.p_max_w)

    @property
    def asleep(self) -> bool:
        return self.known and self._available_w <= 0

    def report(self, u_v: float, f_hz: float) -> Values:
        awake = _RUNNING if self.p_w >= self._available_w else _THROTTLED
        return {**super().report(u_v, f_hz), "state": awake if self._available_w > 0 else _SLEEPING}


class LoadMachine(Machine):
    """Follows the data, limited as far as it may be interrupted. state: 0 off, 1 on, 2 limited."""

    def __init__(self, device: DeviceSpec, behaviour: Behaviour) -> None:
        self.parameters = load.LoadParameters.of(device)
        self._limited = False
        super().__init__(device, Nameplate(0.0, 0.0))

    def power(self, dt_s: float, command: Command, demand: Demand) -> float:
        wanted = demand(self.parameters.series)
        self.known = wanted is not None
        p_w = load.power_w(self.parameters, wanted or 0.0, command.p_max_w)
        self._limited = p_w > load.power_w(self.parameters, wanted or 0.0, float("inf"))
        return p_w

    def report(self, u_v: float, f_hz: float) -> Values:
        return {**super().report(u_v, f_hz), "state": 2 if self._limited else int(self.p_w < 0)}


class TurbineMachine(Machine):
    """Follows the setpoint in force; without one it stands still. state: models.turbine.TurbineMode."""

    def __init__(self, device: DeviceSpec, behaviour: Behaviour) -> None:
        given = turbine.TurbineParameters.of(device)
        self.parameters = replace(given, ramp_w_s=min(given.ramp_w_s, behaviour.ramp_w_s))
        self.state = turbine.TurbineState()
        super().__init__(device, Nameplate(0.0, given.p_max_w))

    def power(self, dt_s: float, command: Command, demand: Demand) -> float:
        if dt_s <= 0:
            return self.state.p_w
        return turbine.step(self.parameters, self.state, dt_s, min(command.p_set_w or 0.0, command.p_max_w))

    def report(self, u_v: float, f_hz: float) -> Values:
        return {
            **super().report(u_v, f_hz),
            "h_w": self.state.heat_w(self.parameters),
            "e_heat_wh": int(self.state.heat_wh),
            "gas_m3": self.state.gas_m3,
            "state": int(self.state.mode),
        }


class ObservedMachine(Machine):
    """A real device among emulated ones: its power is what it shows, and nothing is served for it."""

    def __init__(self, device: DeviceSpec, behaviour: Behaviour) -> None:
        super().__init__(device, Nameplate(0.0, 0.0))
        self.observed_w: float | None = None

    def power(self, dt_s: float, command: Command, demand: Demand) -> float:
        self.known = self.observed_w is not None
        return self.observed_w or 0.0


_KINDS: dict[str, Callable[[DeviceSpec, Behaviour], Machine]] = {
    "storage": BatteryMachine,
    "pv": PvMachine,
    "load": LoadMachine,
    "turbine": TurbineMachine,
}


def machine(device: DeviceSpec, behaviour: Behaviour) -> Machine:
    """The machine of a device that is not a meter. Raises ModelError for a bad model, DeviceError for a meter."""
    made = _KINDS.get(device.kind)
    if made is None:
        raise DeviceError(f"{device.kind} is not a machine", where=device.id, mend=f"one of {', '.join(_KINDS)}")
    return made(device, behaviour)
