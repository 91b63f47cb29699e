"""How an emulated device misbehaves: read from the site's `behaviour` mapping.

never_answers            it is there, takes requests and says nothing
dies_at_s, back_at_s     silent from dies_at_s until back_at_s (absent: for good), seconds after the plant's first step
latency_ms               each answer is late by this much on the wall clock; 0 in lockstep, where time stands still
ramp_w_s                 slower (never faster) than the model's own ramp
dead_band_w              a setpoint that differs by less from the one it follows is taken, and not followed
single_connection        its link serves one client; whoever comes second is hung up on
night_sleep              a PV inverter without sun does not answer
scale_change_s           at each multiple of it the scale factors of its powers change, there and back
ignores_writes           acknowledges every write and applies none
revert_factor            its revert timers run so much longer than they were set to; a real one set to 60 s took 80
no_revert                its revert timers never end
heartbeat_s              without a heartbeat for so long it gives up every setpoint, as with a lost controller:
                         a new value in 715.ControllerHb, in a device without it any write
writes_max               a register that was written so often is worn out: exception 4
dead_time_s              a new order is followed only after so long
gain_pu                  a setpoint of 1000 W gives 1000 W times this: its steady error
readback_delay_s         registers that were written show their old values for so long
eta                      one-way efficiency, instead of the model's
profile                  a file of `vpptwin characterise` whose figures hold where the fields above are not given
clock_drift_ppm          its own clock, which stamps MQTT telemetry, runs fast (> 0) or slow
"""

from __future__ import annotations

from dataclasses import dataclass

from devices import profile
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
    dead_band_w: float = 0.0
    single_connection: bool = False
    night_sleep: bool = False
    scale_change_s: float = _NEVER
    ignores_writes: bool = False
    revert_factor: float = 1.0
    no_revert: bool = False
    heartbeat_s: float = _NEVER
    writes_max: float = _NEVER
    clock_drift_ppm: float = 0.0
    dead_time_s: float = 0.0
    gain_pu: float = 1.0
    readback_delay_s: float = 0.0
    eta: float = 0.0
    """0 = the model's."""
    profile: str | None = None

    @classmethod
    def of(cls, device: DeviceSpec) -> Behaviour:
        """Raises ModelError naming every wrong or unknown field."""
        given = dict(device.behaviour)
        if isinstance(given.get("profile"), str):
            given = {**profile.read(given["profile"]).behaviour, **given}
        fields = Fields(device.id, given, "behaviour")
        dies, back = (fields.number(name, 0, 1e9, _NEVER) for name in ("dies_at_s", "back_at_s"))
        fields.require(back == _NEVER or dies < back, f"back_at_s ({back:g}) must come after dies_at_s ({dies:g})")
        made = cls(
            dies_at_s=dies,
            back_at_s=back,
            latency_ms=fields.number("latency_ms", 0, 60_000, 0),
            ramp_w_s=fields.number("ramp_w_s", 1e-3, 1e12, _NEVER),
            dead_band_w=fields.number("dead_band_w", 0, 1e9, 0),
            scale_change_s=fields.number("scale_change_s", 1, 1e9, _NEVER),
            revert_factor=fields.number("revert_factor", 0.1, 100, 1),
            heartbeat_s=fields.number("heartbeat_s", 0.1, 1e9, _NEVER),
            writes_max=fields.number("writes_max", 0, 1e12, _NEVER),
            clock_drift_ppm=fields.number("clock_drift_ppm", -1e6, 1e6, 0),
            dead_time_s=fields.number("dead_time_s", 0, 3600, 0),
            gain_pu=fields.number("gain_pu", 0, 2, 1),
            readback_delay_s=fields.number("readback_delay_s", 0, 3600, 0),
            eta=fields.number("eta", 0, 1, 0),
            profile=fields.text("profile", None),
            **{name: fields.flag(name) for name in _FLAGS},
        )
        fields.done()
        return made

    @property
    def stubborn(self) -> bool:
        """Whether its registers behave otherwise than they should."""
        plain = Behaviour()
        return any(getattr(self, name) != getattr(plain, name) for name in _OF_REGISTERS)

    def drifted_us(self, t_us: int, since_start_s: float) -> int:
        """What its own clock says at t_us."""
        return t_us + round(since_start_s * self.clock_drift_ppm)

    def dead(self, since_start_s: float) -> bool:
        """Whether it has left the network at this time of the run."""
        return self.dies_at_s <= since_start_s < self.back_at_s

    def silent(self, since_start_s: float) -> bool:
        """Whether it answers nothing, dead or not."""
        return self.never_answers or self.dead(since_start_s)


_FLAGS = ("never_answers", "single_connection", "night_sleep", "ignores_writes", "no_revert")
_OF_REGISTERS = (
    *("dead_band_w", "scale_change_s", "ignores_writes", "revert_factor", "no_revert", "heartbeat_s", "writes_max"),
)
