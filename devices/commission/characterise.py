"""Stepping a device and measuring how it follows: 10, 50 and 100 % both ways, a charge and a discharge, a revert.

Everything that is written passes the safety envelope first and carries a revert time; the device is released at the
end, whatever happens.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from devices.clock import Clock
from devices.commission.analysis import Sample, Step, energy_slope, gain, step_of
from devices.description import DeviceSpec, LinkSpec
from devices.drivers import Driver, driver_for
from devices.drivers.driver import DriverError, Values
from devices.envelope import Limits, State, enveloped
from devices.gateway.ratings import limits_of
from devices.modbus import ModbusLink
from devices.profile import Profile

SHARES = (0.1, 0.5, 1.0)
_SPARE_S = 30
"""The revert time written with a step outlives the watching by so much."""
_LONGEST = 4.0
"""A revert is waited for this many times the time that was written."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to look, seconds of the clock."""

    hold_s: float = 15.0
    """For each step, and for the return to 0 after it."""
    revert_s: int = 60
    """The revert time that is tried."""
    swing_pu: float = 0.02
    """State of charge moved for the efficiency."""
    swing_most_s: float = 1800.0
    """At most this long in each direction."""


Tell = Callable[[str], None]


async def characterise(
    link: LinkSpec, device: DeviceSpec, clock: Clock, *, plan: Plan | None = None, tell: Tell = lambda _: None
) -> Profile:
    """Step the device and return its profile. `tell` hears what is going on.

    Raises DriverError for a device that cannot be stepped, ModbusFault when it is lost.
    """
    driver = driver_for(device)
    wire = ModbusLink.of(link)
    wire.keep(driver.pace)
    await wire.connect()
    try:
        await driver.open(wire)
        if driver.control != "p_set_w":
            raise DriverError("takes no power setpoint", where=device.id, mend="storage and turbines are stepped")
        bench = _Bench(wire, driver, limits_of(device, driver.bounds), clock)
        try:
            return await _measured(bench, plan or Plan(), tell)
        finally:
            await asyncio.shield(driver.release(wire))
    finally:
        wire.close()


async def _measured(bench: _Bench, plan: Plan, tell: Tell) -> Profile:
    steps = []
    for order_w in _orders(bench.limits):
        tell(f"step to {order_w:+.0f} W")
        steps.append(step_of(order_w, await bench.step(order_w, plan.hold_s), bench.tolerance_w))
        await bench.step(0.0, plan.hold_s)
    charged = discharged = None
    if bench.limits.storage and bench.limits.low_w < 0:
        tell("charging and discharging for the efficiency")
        charged = energy_slope(await bench.swing(bench.limits.low_w, plan))
        discharged = energy_slope(await bench.swing(bench.limits.high_w, plan))
        await bench.step(0.0, plan.hold_s)
    tell(f"waiting for the revert after {plan.revert_s} s")
    reverted_s = await bench.revert(_orders(bench.limits)[-1] / 2, plan.revert_s)
    return _profile(bench, plan, steps, charged, discharged, reverted_s)


def _orders(limits: Limits) -> list[float]:
    edges = [edge for edge in (limits.low_w, limits.high_w) if edge]
    return [round(share * edge) for share in SHARES for edge in edges]


class _Bench:
    """The device under test: orders through the envelope, polls as fast as it answers."""

    def __init__(self, link: ModbusLink, driver: Driver, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self._link, self._driver, self._clock = link, driver, clock
        self._soc_pu: float | None = None
        self._hour_us = 0

    @property
    def tolerance_w(self) -> float:
        return self._driver.tolerance_w

    @property
    def device(self) -> DeviceSpec:
        return self._driver.spec

    def now_us(self) -> int:
        return self._clock.now_us()

    async def step(self, order_w: float, hold_s: float) -> list[Sample]:
        """Order and watch for hold_s. The first sample is from just before the order."""
        before = await self._sample(0.0)
        began_us = await self._order(order_w, math.ceil(hold_s) + _SPARE_S)
        return [before, *await self._watch(began_us, lambda one: one.t_s >= hold_s)]

    async def swing(self, order_w: float, plan: Plan) -> list[Sample]:
        """Charge or discharge until the state of charge has moved by the plan's swing, or hits its limit."""
        first = await self._sample(0.0)
        began_us = await self._order(order_w, math.ceil(plan.swing_most_s) + _SPARE_S)
        start_pu = first.soc_pu

        def over(one: Sample) -> bool:
            if one.soc_pu is None or start_pu is None or one.t_s >= plan.swing_most_s:
                return True
            edge = not self.limits.soc_min_pu < one.soc_pu < self.limits.soc_max_pu
            return edge or abs(one.soc_pu - start_pu) >= plan.swing_pu

        return await self._watch(began_us, over)

    async def revert(self, order_w: float, lease_s: int) -> float | None:
        """Seconds from the order until the device gave it up; None when it held it for _LONGEST times as long."""
        began_us = await self._order(order_w, lease_s)
        held = False

        def over(one: Sample) -> bool:
            nonlocal held
            shown = one.shown_w is not None and abs(one.shown_w - order_w) <= self.tolerance_w
            gone = held and not shown
            held = held or shown
            return gone or one.t_s >= _LONGEST * lease_s

        last = (await self._watch(began_us, over))[-1]
        return None if last.t_s >= _LONGEST * lease_s else last.t_s

    async def _order(self, order_w: float, lease_s: int) -> int:
        target = enveloped(order_w, self.limits, State(self._soc_pu), "full")
        if target is None or target != round(order_w):
            what = f"{order_w:.0f} W is not allowed at a state of charge of {self._soc_pu}"
            raise DriverError(what, where=self.device.id, mend="bring it to about half full and try again")
        await self._driver.write_order(self._link, target, lease_s)
        return self._clock.now_us()

    async def _watch(self, began_us: int, over: Callable[[Sample], bool]) -> list[Sample]:
        samples = []
        while True:
            one = await self._sample((self._clock.now_us() - began_us) / 1e6)
            samples.append(one)
            if over(one):
                return samples

    async def _sample(self, t_s: float) -> Sample:
        # As if an hour had passed each time, so that every group of a register map is read at each poll.
        self._hour_us += 3_600_000_000
        values: Values = await self._driver.read(self._link, self._clock.now_us() + self._hour_us)
        if "p_w" not in values:
            raise DriverError("shows no power", where=self.device.id, mend="it cannot be characterised like this")
        self._soc_pu = values.get("soc_pu", self._soc_pu)
        shown = values.get("p_set_w") if values.get("set_ena", 1) == 1 else None
        return Sample(t_s, values["p_w"], shown, self._soc_pu)


def _profile(
    bench: _Bench,
    plan: Plan,
    steps: Sequence[Step],
    charged: float | None,
    discharged: float | None,
    reverted_s: float | None,
) -> Profile:
    ramps = [one.ramp_w_s for one in steps if one.ramp_w_s is not None and abs(one.order_w) > SHARES[0] * _most(steps)]
    readbacks = [one.readback_s for one in steps if one.readback_s is not None]
    found: dict[str, float | None] = {
        "dead_time_s": statistics.median(one.dead_s for one in steps),
        "gain_pu": gain(steps),
        "ramp_w_s": statistics.median(ramps) if ramps else None,
        "readback_delay_s": statistics.median(readbacks) if readbacks else None,
        "revert_factor": None if reverted_s is None else reverted_s / plan.revert_s,
    }
    round_trip = None if not charged or not discharged else charged / discharged
    if round_trip is not None and 0 < round_trip <= 1:
        found["eta"] = math.sqrt(round_trip)
    figures: dict[str, float | None] = {
        "steady_error_pu": gain(steps) - 1,
        "settled_s": max(one.settled_s for one in steps),
        "round_trip_pu": round_trip,
        "revert_asked_s": plan.revert_s,
        "revert_took_s": reverted_s,
    }
    behaviour = {name: _rounded(value) for name, value in found.items() if value is not None}
    return Profile(
        schema=1,
        device=bench.device.id,
        kind=bench.device.kind,
        measured=datetime.fromtimestamp(bench.now_us() / 1e6, UTC).isoformat(timespec="seconds"),
        behaviour=behaviour,
        figures={name: _rounded(value) for name, value in figures.items() if value is not None},
        steps=[{name: _rounded(value) for name, value in asdict(one).items() if value is not None} for one in steps],
    )


def _most(steps: Sequence[Step]) -> float:
    return max(abs(one.order_w) for one in steps)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
