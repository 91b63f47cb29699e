"""Load that follows data; an interruptible one keeps at least (1 - curtail_max_pu) of its demand."""

from __future__ import annotations

from dataclasses import dataclass

from devices.description import DeviceSpec
from devices.models.parameters import Fields


@dataclass(frozen=True, slots=True)
class LoadParameters:
    """Which demand, and how much of it may be interrupted."""

    series: str
    share: float
    curtail_max_pu: float
    """0 = follows its demand whatever the limit; 1 = may be switched off."""

    @classmethod
    def of(cls, device: DeviceSpec) -> LoadParameters:
        """From the site's `model`: series, share, curtail_max_pu."""
        fields = Fields(device.id, device.model)
        made = cls(
            series=fields.text("series") or "",
            share=fields.number("share", 0, 1, 1),
            curtail_max_pu=fields.number("curtail_max_pu", 0, 1, 1),
        )
        fields.done()
        return made


def power_w(parameters: LoadParameters, demand_w: float, p_max_w: float) -> float:
    """Bus power, W, <= 0; `demand_w` is the whole series, `p_max_w` >= 0 limits the magnitude (inf = no limit)."""
    wanted_w = max(demand_w, 0.0) * parameters.share
    return -max(min(wanted_w, p_max_w), (1 - parameters.curtail_max_pu) * wanted_w)
