"""Settlement meter: what it shows of a connection whose power is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from devices.description import DeviceSpec
from devices.models.parameters import Fields

_RISE_MAX_PU = 0.15
_FREQUENCY_SWING_HZ = 0.02
_FREQUENCY_PERIOD_S = 420.0
"""Slow swing of a healthy large grid; the meter shows it so that a frequency chart is not a flat line."""


@dataclass(frozen=True, slots=True)
class MeterParameters:
    """What it measures and where it sits."""

    series: str | None
    """The party's own uncontrolled demand; None if it has none."""
    share: float
    """Part of that demand behind this meter that is no device of its own."""
    phases: int
    u_nom_v: float
    f_nom_hz: float
    line_ohm: float
    """Per phase, makes the voltage rise when the home feeds in."""

    @classmethod
    def of(cls, device: DeviceSpec) -> MeterParameters:
        """From the site's `model`: series, share, phases, u_nom_v, f_nom_hz, line_ohm."""
        fields = Fields(device.id, device.model)
        phases = fields.number("phases", 1, 3, 3 if device.is_grid else 1)
        fields.require(phases in (1, 3), "phases must be 1 or 3")
        made = cls(
            series=fields.text("series", None),
            share=fields.number("share", 0, 1, 1),
            phases=int(phases),
            u_nom_v=fields.number("u_nom_v", 50, 1000, 230),
            f_nom_hz=fields.number("f_nom_hz", 40, 70, 50),
            line_ohm=fields.number("line_ohm", 0, 1, 0.1),
        )
        fields.done()
        return made

    def base_w(self, demand_w: float | None) -> float:
        """Bus power of the uncontrolled demand, W, <= 0; a gap counts as no flow."""
        return 0.0 if demand_w is None else -max(demand_w, 0.0) * self.share


def frequency_hz(f_nom_hz: float, t_us: int, phase: float) -> float:
    """Grid frequency at t_us, Hz: one for the whole site, a function of time alone (phase in turns)."""
    turns = (t_us / 1e6 % _FREQUENCY_PERIOD_S) / _FREQUENCY_PERIOD_S + phase
    return f_nom_hz + _FREQUENCY_SWING_HZ * math.sin(2 * math.pi * turns)


def voltage_v(parameters: MeterParameters, p_w: float, is_grid: bool) -> float:
    """Voltage of each phase, V, rising with feed-in: u = u_nom + r * p / (phases * u_nom). Unity power factor.

    Held within 15 % of u_nom: a line that drops more is none of a site this big, whatever `line_ohm` says.
    """
    outward_w = -p_w if is_grid else p_w
    rise_v = parameters.line_ohm * outward_w / (parameters.phases * parameters.u_nom_v)
    most_v = _RISE_MAX_PU * parameters.u_nom_v
    return parameters.u_nom_v + min(max(rise_v, -most_v), most_v)
