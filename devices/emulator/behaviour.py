"""How an emulated device misbehaves: read from the site's `behaviour` mapping.

never_answers            it is there, takes requests and says nothing
dies_at_s, back_at_s     silent from dies_at_s until back_at_s (absent: for good), seconds after the plant's first step
latency_ms               each answer is late by this much on the wall clock; 0 in lockstep, where time stands still
ramp_w_s                 slower (never faster) than the model's own ramp
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.description import DeviceSpec
from devices.models.parameters import Fields

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Checked form of a `behaviour` mapping; the defaults behave well."""

    never_answers: bool = False
    dies_at_s: float = _NEVER
    back_at_s: float = _NEVER
    latency_ms: float = 0.0
    ramp_w_s: float = _NEVER

    @classmethod
    def of(cls, device: DeviceSpec) -> Behaviour:
        """Raises ModelError naming every wrong or unknown field."""
        fields = Fields(device.id, device.behaviour, "behaviour")
        dies, back = (fields.number(name, 0, 1e9, _NEVER) for name in ("dies_at_s", "back_at_s"))
        fields.require(back == _NEVER or dies < back, f"back_at_s ({back:g}) must come after dies_at_s ({dies:g})")
        made = cls(
            never_answers=fields.flag("never_answers"),
            dies_at_s=dies,
            back_at_s=back,
            latency_ms=fields.number("latency_ms", 0, 60_000, 0),
            ramp_w_s=fields.number("ramp_w_s", 1e-3, 1e12, _NEVER),
        )
        fields.done()
        return made

    def dead(self, since_start_s: float) -> bool:
        """Whether it has left the network at this time of the run."""
        return self.dies_at_s <= since_start_s < self.back_at_s

    def silent(self, since_start_s: float) -> bool:
        """Whether it answers nothing, dead or not."""
        return self.never_answers or self.dead(since_start_s)
