"""The electrical side of the plant: machines, the homes' own demand, and the meters that see their sums.

Invariant after every step: home meters + the operator's meter + grid meter = 0 W (no losses are modelled); the grid
gives or takes what is left. A home meter sees its party's machines and the party's own demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from devices.description import DeviceSpec
from devices.emulator.behaviour import Behaviour
from devices.emulator.machines import Demand, Machine, ObservedMachine, machine
from devices.emulator.unit import Command, Values
from devices.errors import DeviceError
from devices.models.counter import EnergyCounters
from devices.models.meter import MeterParameters, frequency_hz, voltage_v

Series = Callable[[str, int, int], float | None]
"""(series id, t0_us, t1_us) -> mean W in [t0, t1), None for a gap."""


class Meter:
    """What one meter measures; `p_w` is its owner's net power."""

    def __init__(self, device: DeviceSpec, members: Sequence[Machine], real: bool = False) -> None:
        """`real`: it is no emulated meter; what it shows is told by `observed_w`."""
        self.device, self.real = device, real
        self.observed_w: float | None = None
        self.parameters = MeterParameters.of(device)
        self.p_w = 0.0
        self.known = True
        self.counters = EnergyCounters.zero()
        self._members = members

    def measure(self, demand: Demand) -> float:
        """Net power of the party over the step; gaps count as no flow and make the meter unknown."""
        if self.real:
            self.known, self.p_w = self.observed_w is not None, self.observed_w or 0.0
            return self.p_w
        own_w = None if self.parameters.series is None else demand(self.parameters.series)
        self.known = (self.parameters.series is None or own_w is not None) and all(one.known for one in self._members)
        self.p_w = self.parameters.base_w(own_w) + sum(one.p_w for one in self._members)
        return self.p_w

    @property
    def u_v(self) -> float:
        """Voltage of each phase now."""
        return voltage_v(self.parameters, self.p_w, self.device.is_grid)

    def report(self, f_hz: float) -> Values:
        """Catalogue points, unrounded; a gap leaves the counters, voltage and frequency."""
        u_v, phases = self.u_v, range(1, self.parameters.phases + 1)
        values: dict[str, float | int | None] = {
            "e_imp_wh": self.counters.imported.whole_wh,
            "e_exp_wh": self.counters.exported.whole_wh,
            "f_hz": f_hz,
        }
        values.update({f"u{k}_v": u_v for k in phases})
        known_w = self.p_w if self.known else None
        values["p_w"] = known_w
        values["q_var"] = None if known_w is None else 0.0
        current = None if known_w is None else abs(known_w) / (u_v * self.parameters.phases)
        values.update({f"i{k}_a": current for k in phases})
        return values


class Bus:
    """All that has power. Raises DeviceError unless each party has one meter and the site one grid meter."""

    def __init__(
        self,
        devices: Sequence[DeviceSpec],
        behaviours: Mapping[str, Behaviour],
        series: Series,
        phase: float,
        real: frozenset[str] = frozenset(),
    ) -> None:
        """`phase`: of the frequency's slow swing, in turns (from the run's seed); `real`: devices that are told of."""
        self._series = series
        self._phase = phase
        self._t_us = 0
        self.machines = {
            one.id: ObservedMachine(one, behaviours[one.id]) if one.id in real else machine(one, behaviours[one.id])
            for one in devices
            if one.kind != "meter"
        }
        meters = [one for one in devices if one.kind == "meter"]
        self.grid = _grid_meter(meters)
        self._homes = {
            one.party: _home_meter(one, self.machines.values(), one.id in real) for one in meters if not one.is_grid
        }
        _check_parties(meters, self.machines.values())
        self.meters: dict[str, Meter] = {one.device.id: one for one in (*self._homes.values(), self.grid)}

    def step(self, t0_us: int, t1_us: int, commands: Mapping[str, Command]) -> None:
        """Advance over [t0, t1) with constant power."""
        self._advance(t0_us, t1_us, (t1_us - t0_us) / 1e6, commands)

    def initialise(self, t_us: int, look_back_us: int) -> None:
        """Powers as of t_us, from the data of the `look_back_us` before it; no energy flows."""
        self._advance(t_us - look_back_us, t_us, 0.0, {})

    def observe(self, device: str, p_w: float | None) -> None:
        """The power that a real device shows, from the next step on; None = it shows none."""
        one = self.meters.get(device) or self.machines[device]
        if isinstance(one, (Meter, ObservedMachine)):
            one.observed_w = p_w

    def report(self, device: str) -> Values:
        """What a device would report now."""
        f_hz = frequency_hz(self.grid.parameters.f_nom_hz, self._t_us, self._phase)
        if device in self.meters:
            return self.meters[device].report(f_hz)
        one = self.machines[device]
        meter = self._homes.get(one.device.party)
        return one.report(meter.u_v if meter else one.plate.u_v, f_hz)

    def known(self, device: str) -> bool:
        """False while the device's data has a gap."""
        return (self.meters.get(device) or self.machines[device]).known

    def _advance(self, t0_us: int, t1_us: int, dt_s: float, commands: Mapping[str, Command]) -> None:
        read: dict[str, float | None] = {}

        def demand(series: str) -> float | None:
            if series not in read:
                read[series] = self._series(series, t0_us, t1_us)
            return read[series]

        for name, one in self.machines.items():
            one.step(dt_s, commands.get(name, _FREE), demand)
        self.grid.p_w = -sum(home.measure(demand) for home in self._homes.values())
        if dt_s > 0:
            for meter in self.meters.values():
                meter.counters.integrate(meter.p_w, dt_s)
        self._t_us = t1_us


_FREE = Command()


def _grid_meter(meters: Sequence[DeviceSpec]) -> Meter:
    found = [one for one in meters if one.is_grid]
    if len(found) != 1:
        raise DeviceError(f"{len(found)} grid meters", where="plant", mend="exactly one meter must have is_grid")
    return Meter(found[0], ())


def _home_meter(meter: DeviceSpec, machines: Iterable[Machine], real: bool) -> Meter:
    return Meter(meter, [one for one in machines if one.device.party == meter.party], real)


def _check_parties(meters: Sequence[DeviceSpec], machines: Iterable[Machine]) -> None:
    metered = [one.party for one in meters if not one.is_grid]
    twice = sorted({party for party in metered if metered.count(party) > 1})
    without = sorted({one.device.party for one in machines} - set(metered))
    if twice or without:
        raise DeviceError(
            f"parties with two meters: {twice}, with devices but no meter: {without}",
            where="plant",
            mend="every party but the grid has exactly one settlement meter",
        )
