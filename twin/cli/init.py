"""`vpptwin init`: what a site needs before its broker may be locked: passwords, access list, certificates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from devices.adapter import status_of
from devices.announcement import SERVICE
from devices.security import SecurityError, write_security
from twin.brokers import SECRETS
from twin.cli.output import console
from twin.clock import WallClock
from twin.exits import UsageError
from twin.site.loader import load_site


def init(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    out: Annotated[Path | None, typer.Option(help="Folder for the files; default broker-<site>.")] = None,
    host: Annotated[str, typer.Option(help="Address that the broker shall listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.")] = 8883,
    tls: Annotated[bool, typer.Option(help="With TLS; needed off the loopback interface.")] = True,
) -> None:
    """Write the files of a locked mosquitto for a site: configuration, passwords, access list, certificates.

    Every password is random and new. The files are the owner's alone, and git ignores them.
    """
    found = load_site(site, check_data=False)
    folder = (out or Path(f"broker-{found.id}")).resolve()
    wireless, wired = ([one.id for one in found.devices if one.mqtt is air] for air in (True, False))
    foreign = {one.id: status_of(one).topics for one in found.devices if one.adapter}
    now = dt.datetime.fromtimestamp(WallClock().now_us() / 1e6, dt.UTC)
    try:
        made = write_security(
            folder, found.id, wireless, wired=wired, foreign=foreign, host=host, port=port, tls=tls, now=now
        )
    except SecurityError as error:
        raise UsageError(error.what, where=error.where or "--out", mend=error.mend) from error
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    named = f"embedded: false, host: {host}, port: {port}, username: {SERVICE}"
    named += f", tls_ca: {made.tls_ca}" if made.tls_ca else ""
    for line in (
        f"[green]written[/] {folder}: {len(made.passwords)} users, each with a password of its own in secrets.txt",
        f"start the broker:  mosquitto -c {made.conf}",
        f"in {site}:  broker: {{{named}}}",
        f"for vpptwin:  export {SECRETS}={folder / 'secrets.txt'}",
    ):
        console.print(line, soft_wrap=True)
