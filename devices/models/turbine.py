"""Micro-turbine: off, starting, running, with ramp, minimum power, fuel and heat at constant efficiency.

gas = energy / (efficiency * gas_kwh_per_m3);  heat = heat_ratio * electric power.
A setpoint <= 0 (or none) stops it: it ramps down and opens its breaker below p_min.
A setpoint in (0, p_min) means p_min.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from devices.description import DeviceSpec
from devices.models.parameters import Fields
from devices.models.ramp import ramped


class TurbineMode(IntEnum):
    """Its own code, reported as `state`."""

    OFF = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3


@dataclass(frozen=True, slots=True)
class TurbineParameters:
    """What the nameplate says."""

    p_min_w: float
    p_max_w: float
    ramp_w_s: float
    start_s: float
    """From the start command until the breaker closes; no power, no fuel counted."""
    efficiency: float
    """Electric, of the gas energy."""
    gas_kwh_per_m3: float
    heat_ratio: float
    """Heat per electric power."""

    @classmethod
    def of(cls, device: DeviceSpec) -> TurbineParameters:
        """From the site's `model`: p_min_w, p_max_w, ramp_w_s, start_s, efficiency, gas_kwh_per_m3, heat_ratio."""
        fields = Fields(device.id, device.model)
        p_max_w = fields.number("p_max_w", 1, 1e9)
        made = cls(
            p_min_w=fields.number("p_min_w", 0, max(p_max_w, 1), 0),
            p_max_w=p_max_w,
            ramp_w_s=fields.number("ramp_w_s", 1e-3, float("inf"), float("inf")),
            start_s=fields.number("start_s", 0, 86400, 0),
            efficiency=fields.number("efficiency", 0.01, 1, 0.3),
            gas_kwh_per_m3=fields.number("gas_kwh_per_m3", 1, 50, 10),
            heat_ratio=fields.number("heat_ratio", 0, 10, 0),
        )
        fields.done()
        return made


@dataclass(slots=True)
class TurbineState:
    """What changes."""

    mode: TurbineMode = TurbineMode.OFF
    p_w: float = 0.0
    left_s: float = 0.0
    """Until a start-up is over."""
    gas_m3: float = 0.0
    heat_wh: float = 0.0

    def heat_w(self, parameters: TurbineParameters) -> float:
        """Heat output now, W."""
        return self.p_w * parameters.heat_ratio


def step(parameters: TurbineParameters, state: TurbineState, dt_s: float, p_set_w: float) -> float:
    """Advance by dt_s > 0 towards p_set_w and return the power, constant over the step, W.

    A start-up that ends inside the step counts from the next one: power is constant over a step.
    """
    wanted = p_set_w > 0
    if state.mode is TurbineMode.OFF and wanted:
        state.mode, state.left_s = TurbineMode.STARTING, parameters.start_s
    if state.mode is TurbineMode.STARTING:
        state.mode, state.left_s = _started(state, dt_s, wanted)
    if state.mode in (TurbineMode.RUNNING, TurbineMode.STOPPING):
        _run(parameters, state, dt_s, p_set_w)
    electric_wh = state.p_w * dt_s / 3600
    state.gas_m3 += electric_wh / 1000 / parameters.efficiency / parameters.gas_kwh_per_m3
    state.heat_wh += electric_wh * parameters.heat_ratio
    return state.p_w


def _started(state: TurbineState, dt_s: float, wanted: bool) -> tuple[TurbineMode, float]:
    if not wanted:
        return TurbineMode.OFF, 0.0
    if state.left_s <= 0:
        return TurbineMode.RUNNING, 0.0
    return TurbineMode.STARTING, state.left_s - dt_s


def _run(parameters: TurbineParameters, state: TurbineState, dt_s: float, p_set_w: float) -> None:
    if p_set_w > 0:
        state.mode = TurbineMode.RUNNING
        target_w = min(max(p_set_w, parameters.p_min_w), parameters.p_max_w)
        # The breaker closes at p_min: below it there is no steady operation to ramp through.
        state.p_w = ramped(max(state.p_w, parameters.p_min_w), target_w, parameters.ramp_w_s, dt_s)
        return
    state.mode = TurbineMode.STOPPING
    state.p_w = ramped(state.p_w, 0.0, parameters.ramp_w_s, dt_s)
    if state.p_w < parameters.p_min_w or state.p_w == 0:
        state.mode, state.p_w = TurbineMode.OFF, 0.0
