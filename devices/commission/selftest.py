"""The sign self-test: ask a device for a little power and see that it, its state of charge and its meter go that way.

A reversed sign is the most frequent and the most expensive mistake of a new installation: with it, every order makes
things worse, and the read-back of the register agrees all the same. Only the effect tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from devices.clock import Clock
from devices.description import DeviceSpec
from devices.gateway import Gateway

ASK_W = 1000.0
_LEAST_PU = 0.1
"""Nearer than this to empty or full it is asked the other way."""
_SEEN_PU = 0.5
"""Share of the order that must be seen for a clear answer."""
_SOON_S = 0.5
_NOISE_PU = 0.0002

Result = Literal["right", "wrong", "unclear", "skipped"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one device answered."""

    device: str
    result: Result
    detail: str

    @property
    def ok(self) -> bool:
        return self.result in ("right", "skipped")


@dataclass(frozen=True, slots=True)
class _Seen:
    p_w: float | None
    soc_pu: float | None
    meter_w: float | None


async def self_test(
    gateway: Gateway, devices: Sequence[DeviceSpec], clock: Clock, *, wait_s: float = 10.0
) -> list[Verdict]:
    """One device after the other, each released afterwards. The gateway runs on the wall clock, with control enabled.

    `wait_s`: how long a device may take to answer.
    """
    meters = {one.party: one.id for one in devices if one.kind == "meter" and not one.is_grid}
    verdicts = []
    for device in devices:
        if device.kind in ("storage", "turbine"):
            verdicts.append(await _test(gateway, device, meters.get(device.party), clock, wait_s))
        elif device.kind != "meter":
            verdicts.append(Verdict(device.id, "skipped", "a limit has no sign"))
    return verdicts


async def _test(gateway: Gateway, device: DeviceSpec, meter: str | None, clock: Clock, wait_s: float) -> Verdict:
    before = await _first(gateway, device.id, meter, clock, wait_s)
    if before.p_w is None:
        return Verdict(device.id, "unclear", "shows no power")
    if device.kind == "turbine":
        return Verdict(device.id, "skipped", "a turbine is not started for a test")
    if before.soc_pu is None:
        return Verdict(device.id, "unclear", "shows no state of charge, so nothing may be asked of it")
    ask_w = ASK_W if before.soc_pu > _LEAST_PU else -ASK_W
    until_us = clock.now_us() + round((wait_s + 60) * 1e6)
    gateway.order(device.id, ask_w, until_us=until_us, reason="sign self-test", plan="self-test")
    try:
        after = await _settled(gateway, device.id, meter, before, clock, wait_s)
    finally:
        left = await gateway.release_all("self-test over")
    verdict = _judged(device.id, ask_w, before, after)
    if device.id in left:
        return Verdict(device.id, "wrong", f"{verdict.detail}; and it did not take the release")
    return verdict


async def _first(gateway: Gateway, device: str, meter: str | None, clock: Clock, wait_s: float) -> _Seen:
    end_us = clock.now_us() + round(wait_s * 1e6)
    while True:
        seen = _look(gateway, device, meter)
        if (seen.p_w is not None and (meter is None or seen.meter_w is not None)) or clock.now_us() >= end_us:
            return seen
        await clock.sleep_until_us(clock.now_us() + round(_SOON_S * 1e6))


async def _settled(
    gateway: Gateway, device: str, meter: str | None, before: _Seen, clock: Clock, wait_s: float
) -> _Seen:
    """Watch until device and meter have clearly moved, or the time is over."""
    end_us = clock.now_us() + round(wait_s * 1e6)
    while True:
        await clock.sleep_until_us(clock.now_us() + round(_SOON_S * 1e6))
        after = _look(gateway, device, meter)
        clear = _moved(before.p_w, after.p_w) and (meter is None or _moved(before.meter_w, after.meter_w))
        if (clear and before.soc_pu != after.soc_pu) or clock.now_us() >= end_us:
            return after


def _look(gateway: Gateway, device: str, meter: str | None) -> _Seen:
    image = gateway.freeze()

    def value(name: str, point: str) -> float | None:
        return image.value(name, point, 5.0)

    return _Seen(value(device, "p_w"), value(device, "soc_pu"), None if meter is None else value(meter, "p_w"))


def _moved(before: float | None, after: float | None) -> bool:
    return before is not None and after is not None and abs(after - before) >= _SEEN_PU * ASK_W


def _judged(device: str, ask_w: float, before: _Seen, after: _Seen) -> Verdict:
    parts: list[tuple[str, float | None]] = [
        ("power", _share(before.p_w, after.p_w, ask_w)),
        ("meter", _share(before.meter_w, after.meter_w, ask_w)),
    ]
    words = [f"asked {ask_w:+.0f} W"]
    words += [f"{name} moved {share * ask_w:+.0f} W" for name, share in parts if share is not None]
    wrong = [name for name, share in parts if share is not None and share <= -_SEEN_PU]
    if before.soc_pu is not None and after.soc_pu is not None and abs(after.soc_pu - before.soc_pu) > _NOISE_PU / 4:
        change = after.soc_pu - before.soc_pu
        words.append(f"state of charge {100 * change:+.2f} %")
        if change * ask_w > 0 and abs(change) > _NOISE_PU:
            wrong.append("state of charge")
    else:
        words.append("state of charge unchanged within its resolution")
    detail = ", ".join(words)
    if wrong:
        return Verdict(device, "wrong", f"{detail}: {' and '.join(wrong)} went the wrong way; check `sign` in its map")
    share = parts[0][1]
    if share is None or share < _SEEN_PU:
        return Verdict(
            device, "unclear", f"{detail}: it did not follow; is it in remote control, and not full or empty?"
        )
    return Verdict(device, "right", detail)


def _share(before: float | None, after: float | None, ask_w: float) -> float | None:
    return None if before is None or after is None else (after - before) / ask_w
