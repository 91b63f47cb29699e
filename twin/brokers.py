"""Which broker a site speaks through: its own, or one that lives as long as the program."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from devices.broker import Broker
from devices.description import BrokerSpec
from twin.exits import UsageError
from twin.site.schema import Site

log = logging.getLogger(__name__)
PASSWORD = "VPPTWIN_BROKER_PASSWORD"
"""Of the user that the site file names."""
SECRETS = "VPPTWIN_BROKER_SECRETS"
"""Instead: a file with a line `user password` each, as `vpptwin init` writes it, for emulated devices too."""


@asynccontextmanager
async def broker_of(site: Site, *, fixed: bool) -> AsyncIterator[BrokerSpec]:
    """The broker the site names, else mosquitto if the machine has it, else the embedded one; the log says which.

    fixed : bind the site's port; a broker that answers there already is used (`vpptwin devices` beside `serve`).
    """
    choice = site.broker
    words = _secrets()
    own = words.pop(choice.username or "", None)
    password = os.environ.get(PASSWORD) or own
    named = BrokerSpec(choice.host, choice.port, choice.username, password, choice.tls_ca, words)
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


def _secrets() -> dict[str, str]:
    """Passwords by user."""
    path = os.environ.get(SECRETS)
    if not path:
        return {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return {user: word for user, word in (line.split() for line in lines)}
    except (OSError, ValueError) as error:
        raise UsageError("no list of passwords", where=f"{SECRETS}={path}", mend="`vpptwin init` writes one") from error


async def _answers(spec: BrokerSpec) -> bool:
    """Whether something listens there."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(spec.host, spec.port), 1.0)
    except (OSError, TimeoutError):
        return False
    writer.close()
    await writer.wait_closed()
    return True
