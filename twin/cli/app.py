"""`vpptwin`: one typer application, one place where errors become messages and exit statuses."""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import TracebackType
from typing import Annotated

import typer

from twin.cli import characterise, check, devices, ledger, proxy, release, reproduce, run, serve, solve
from twin.cli.later import LATER, add_later
from twin.cli.output import complain
from twin.errors import TwinError
from twin.exits import FAULT, KNOWN, status

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
app.command("characterise")(characterise.characterise_device)
app.command("solve")(solve.solve)
app.command("reproduce")(reproduce.reproduce)
app.command("release")(release.release)
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


def call() -> None:
    """Run the command line; known errors become one clear message and an exit status, never a traceback."""
    sys.excepthook = _own_fault
    try:
        typer.main.get_command(app)()  # not app(), which would put a hook of typer's in the place of ours
    except KNOWN as error:
        complain(error)
        sys.exit(status(error))


def _own_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error that no table knows is the program's own: its traceback, then what it means for whoever reads it."""
    sys.__excepthook__(kind, error, trace)
    complain(
        TwinError(
            f"this is a fault of vpptwin itself, not of your input ({kind.__name__}, see above)",
            mend="what was recorded until then is kept and opens again; please report the lines above",
        )
    )
    sys.exit(FAULT)
