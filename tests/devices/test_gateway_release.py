"""Releasing everything while links are at work."""

from __future__ import annotations

import asyncio

from devices.description import DeviceSpec, LinkSpec
from devices.gateway import Gateway
from twin.clock import WallClock

BATTERY = DeviceSpec("bat", "storage", "home", "roof", 1, "sunspec", model={"p_w": 5000})


async def test_release_all_lets_a_write_on_its_way_finish(servers, stack, make_battery, make_sunspec, eventually):
    image, journal, clock = make_battery(), [], WallClock()
    unit = make_sunspec(1, image)
    link = LinkSpec("roof", "modbus-tcp", "127.0.0.1", await servers.start([unit]), timeout_s=0.5)
    gateway = await stack.enter_async_context(
        Gateway([link], [BATTERY], clock, lease_s=60, tick_s=0.05, journal=journal.append, lockstep=False)
    )
    await eventually(lambda: gateway.stats.received > 0)
    releasing: list[asyncio.Task[list[str]]] = []
    # The release comes between an order's write and its read-back.
    unit.on_write = lambda _: releasing or releasing.append(asyncio.create_task(gateway.release_all()))
    gateway.order("bat", -800, until_us=clock.now_us() + 60_000_000, reason="test", plan="plan")
    await eventually(lambda: bool(releasing) and releasing[0].done())
    assert releasing[0].result() == []
    assert image.get(704)["WSetEna"] == 0
    assert journal[-1].state == "released"
    stats = gateway.stats
    assert (stats.sent, stats.verified + stats.superseded) == (1, 1)
