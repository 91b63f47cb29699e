"""Which broker a site speaks through: its own, or one that lives as long as the program."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from devices.broker import Broker
from devices.description import BrokerSpec
from twin.site.schema import Site

log = logging.getLogger(__name__)
PASSWORD = "VPPTWIN_BROKER_PASSWORD"


@asynccontextmanager
async def broker_of(site: Site, *, fixed: bool) -> AsyncIterator[BrokerSpec]:
    """The broker the site names, else mosquitto if the machine has it, else the embedded one; the log says which.

    fixed : bind the site's port; a broker that answers there already is used (`vpptwin devices` beside `serve`).
    """
    choice = site.broker
    named = BrokerSpec(choice.host, choice.port, choice.username, os.environ.get(PASSWORD), choice.tls_ca)
    if choice.embedded is False:
        log.info("broker: the site's own at %s:%d", choice.host, choice.port)
        yield named
        return
    if fixed and choice.port and await _answers(named):
        log.info("broker: the one that answers at %s:%d", choice.host, choice.port)
        yield named
        return
    broker = Broker("embedded" if choice.embedded else "auto", choice.port if fixed else 0)
    async with broker as spec:
        log.info("broker: %s at %s:%d", broker.kind, spec.host, spec.port)
        if broker.kind == "embedded":
            log.info("the embedded broker is the zero-install fallback: MQTT 3.1.1 only, slower than mosquitto")
        yield spec


async def _answers(spec: BrokerSpec) -> bool:
    """Whether something listens there."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(spec.host, spec.port), 1.0)
    except (OSError, TimeoutError):
        return False
    writer.close()
    await writer.wait_closed()
    return True
