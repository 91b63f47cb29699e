"""PV inverter: follows the available power up to its rating and a curtailment limit."""

from __future__ import annotations

from dataclasses import dataclass

from devices.description import DeviceSpec
from devices.models.parameters import Fields


@dataclass(frozen=True, slots=True)
class PvParameters:
    """What the nameplate says."""

    peak_w: float
    """AC rating; more is never fed in, whatever the data say."""
    series: str
    """Id of the series of available power, mean W."""

    @classmethod
    def of(cls, device: DeviceSpec) -> PvParameters:
        """From the site's `model`: peak_w, series."""
        fields = Fields(device.id, device.model)
        made = cls(peak_w=fields.number("peak_w", 1, 1e9), series=fields.text("series") or "")
        fields.done()
        return made


def power_w(parameters: PvParameters, available_w: float, p_max_w: float) -> float:
    """Power fed in, W, >= 0: the least of what the sun gives, the rating and the limit in force."""
    return max(min(available_w, parameters.peak_w, p_max_w), 0.0)
