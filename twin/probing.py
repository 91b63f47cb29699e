"""Meeting the devices of a site: `vpptwin check --probe`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from devices.commission import Identity, Verdict, identify, self_test
from devices.gateway import Command, Gateway
from twin.brokers import broker_of
from twin.clock import WallClock
from twin.site.schema import Site

log = logging.getLogger(__name__)
TICK_S = 0.5
LEASE_S = 60.0


def may_write(site: Site) -> bool:
    """Whether the site file allows anything to be written to devices."""
    return site.control.enabled and site.control.mode in ("limited", "full")


async def probe(
    site: Site, only: Sequence[str], test: bool | None, wait_s: float, show: Callable[[list[Identity]], None]
) -> tuple[list[Identity], list[Verdict]]:
    """Identify the devices (all, or `only` these), then test the signs of those that answered where that is allowed.

    `test` None = if the site allows control. Who was met is shown before anything is written, and what is written is
    logged.
    """
    clock = WallClock()
    chosen = [one for one in site.devices if not only or one.id in only]
    async with broker_of(site, fixed=True) as spec:
        met = await identify(site.links, chosen, clock, broker=spec, site_id=site.id, wait_s=wait_s)
        show(met)
        alive = {one.device for one in met if one.ok}
        if not (may_write(site) if test is None else test) or not alive:
            return met, []
        parties = {one.party for one in chosen}
        there = [one for one in site.devices if one.id in alive or (one.kind == "meter" and one.party in parties)]
        links = [link for link in site.links if any(one.link == link.id for one in there)]
        gateway = Gateway(
            links,
            there,
            clock,
            broker=spec,
            site_id=site.id,
            lease_s=LEASE_S,
            tick_s=TICK_S,
            mode=site.control.mode,
            control_enabled=may_write(site),
            cap_w=site.control.cap_w,
            journal=_journal,
            lockstep=False,
        )
        async with gateway:
            try:
                verdicts = await self_test(gateway, there, clock, wait_s=wait_s)
            finally:
                await asyncio.shield(gateway.release_all("probe over"))
    return met, verdicts


def _journal(command: Command) -> None:
    value = "" if command.value is None else f" {command.value} W"
    log.info("%s %s%s: %s (%s)", command.device, command.control, value, command.state, command.reason)
