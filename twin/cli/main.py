"""`vpptwin`: one typer application, one place where errors become messages and exit statuses."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from twin.cli import check, devices, ledger, proxy, run, serve
from twin.cli.later import LATER, add_later
from twin.cli.output import complain
from twin.exits import KNOWN, status

app = typer.Typer(
    name="vpptwin",
    help="Digital twin of a virtual power plant with real hardware in the loop.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("rerun")(run.rerun)
app.command("devices")(devices.devices)
app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("proxy")(proxy.proxy)
app.add_typer(ledger.app, name="ledger")
add_later(app, LATER)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("vpptwin"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Digital twin of a virtual power plant with real hardware in the loop."""


def main() -> None:
    """Run the command line; known errors become one clear message and an exit status, never a traceback."""
    try:
        app()
    except KNOWN as error:
        complain(error)
        sys.exit(status(error))
