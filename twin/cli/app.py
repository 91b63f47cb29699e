"""`vpptwin`: one typer application, one place where errors become messages and exit statuses."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Annotated

import typer

from twin.cli.later import LATER, add_later
from twin.cli.output import complain
from twin.cli.verbs import Verb, group
from twin.errors import TwinError
from twin.exits import FAULT, known, status

VERBS = {
    "run": Verb("twin.cli.run", "run", "Run the whole loop on an emulated plant; report."),
    "rerun": Verb("twin.cli.run", "rerun", "Repeat a run and say equal, or where it differs."),
    "devices": Verb("twin.cli.devices", "devices", "Serve the emulated plant alone (Modbus, MQTT)."),
    "serve": Verb("twin.cli.serve", "serve", "Run the service alone, against devices that are there."),
    "check": Verb("twin.cli.check", "check", "Find all errors of a site file; --probe meets the devices."),
    "proxy": Verb("twin.cli.proxy", "proxy", "Stand before a device or broker and spoil what passes."),
    "characterise": Verb("twin.cli.characterise", "characterise_device", "Step a device and write its profile."),
    "solve": Verb("twin.cli.solve", "solve", "Solve one case and show prices and certificate."),
    "reproduce": Verb("twin.cli.reproduce", "reproduce", "Repeat a paper's study, claim by claim."),
    "sweep": Verb("twin.cli.sweep", "sweep", "Compare policies over measured days."),
    "release": Verb("twin.cli.release", "release", "Give devices back to themselves over their wires."),
    "init": Verb("twin.cli.init", "init", "Write a locked broker's passwords, access list, certificates."),
    "ledger": Verb("twin.cli.ledger", "app", "The settlement ledger of a run."),
}
"""In the order of `vpptwin --help`, which imports none of them."""

app = typer.Typer(
    name="vpptwin",
    cls=group(VERBS),
    help="Digital twin of a virtual power plant with real hardware in the loop.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
add_later(app, LATER)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # 40 ms that no other call pays

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
    except (SystemExit, KeyboardInterrupt):
        raise  # the usual end, before it is asked which errors are known
    except known() as error:
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
