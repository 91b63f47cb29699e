"""Battery: one-way efficiencies, SOC window, ratings, ramp. Bus sign: discharge > 0, charge < 0.

Energy balance over a step of dt with constant bus power p (charge c = max(-p, 0), discharge d = max(p, 0)):
    e(t + dt) = e(t) + (eta * c - d / eta - standby) * dt,      e_min <= e <= e_max
The power is limited beforehand so that the balance holds exactly: nothing is lost at a limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.description import DeviceSpec
from devices.models.parameters import Fields
from devices.models.ramp import ramped


@dataclass(frozen=True, slots=True)
class BatteryParameters:
    """What the nameplate says."""

    e_wh: float
    p_charge_w: float
    p_discharge_w: float
    eta: float
    """One way; a full cycle keeps eta**2."""
    soc0_pu: float
    soc_min_pu: float
    soc_max_pu: float
    ramp_w_s: float
    """Largest change of power per second; inf = at once."""
    standby_w: float
    """Taken from the stored energy at all times until the lower limit is reached."""

    @classmethod
    def of(cls, device: DeviceSpec) -> BatteryParameters:
        """From the site's `model`: e_wh, p_w or p_charge_w and p_discharge_w, eta, soc*_pu, ramp_w_s, standby_w."""
        fields = Fields(device.id, device.model)
        both_w = fields.number("p_w", 0, 1e9, 0)
        charge_w = fields.number("p_charge_w", 0, 1e9, both_w)
        discharge_w = fields.number("p_discharge_w", 0, 1e9, both_w)
        fields.require(charge_w > 0 and discharge_w > 0, "p_w (or p_charge_w and p_discharge_w) must be > 0")
        low = fields.number("soc_min_pu", 0, 1, 0)
        high = fields.number("soc_max_pu", 0, 1, 1)
        start = fields.number("soc0_pu", 0, 1, 0.5)
        fields.require(
            low <= start <= high, f"soc_min_pu <= soc0_pu <= soc_max_pu does not hold: {low}, {start}, {high}"
        )
        made = cls(
            e_wh=fields.number("e_wh", 1, 1e12),
            p_charge_w=charge_w,
            p_discharge_w=discharge_w,
            eta=fields.number("eta", 0.05, 1, 0.95),
            soc0_pu=start,
            soc_min_pu=low,
            soc_max_pu=high,
            ramp_w_s=fields.number("ramp_w_s", 1e-3, float("inf"), float("inf")),
            standby_w=fields.number("standby_w", 0, 1e6, 0),
        )
        fields.done()
        return made


@dataclass(slots=True)
class BatteryState:
    """What changes."""

    e_wh: float
    p_w: float = 0.0

    @classmethod
    def initial(cls, parameters: BatteryParameters) -> BatteryState:
        """At rest with soc0_pu."""
        return cls(e_wh=parameters.soc0_pu * parameters.e_wh)

    def soc_pu(self, parameters: BatteryParameters) -> float:
        """State of charge of the nameplate energy."""
        return self.e_wh / parameters.e_wh


def step(parameters: BatteryParameters, state: BatteryState, dt_s: float, p_set_w: float) -> float:
    """Advance by dt_s > 0 towards p_set_w (bus sign) and return the bus power, constant over the step, W."""
    hours = dt_s / 3600
    e_min, e_max = parameters.soc_min_pu * parameters.e_wh, parameters.soc_max_pu * parameters.e_wh
    standby_wh = min(parameters.standby_w * hours, max(state.e_wh - e_min, 0.0))
    wanted = ramped(state.p_w, p_set_w, parameters.ramp_w_s, dt_s)
    most_out_w = max(state.e_wh - standby_wh - e_min, 0.0) * parameters.eta / hours
    most_in_w = max(e_max - state.e_wh + standby_wh, 0.0) / parameters.eta / hours
    p_w = min(max(wanted, -parameters.p_charge_w, -most_in_w), parameters.p_discharge_w, most_out_w)
    stored_wh = (-p_w * parameters.eta if p_w < 0 else -p_w / parameters.eta) * hours
    # Only rounding can leave the window here (1e-12 of the energy): the limits above were met exactly.
    state.e_wh = min(max(state.e_wh + stored_wh - standby_wh, e_min), e_max)
    state.p_w = p_w
    return p_w
