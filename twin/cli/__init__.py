"""The command line: parse, call, print. `main` is the entry point of `vpptwin`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. Its modules are imported here, so that Ctrl-C meanwhile ends it quietly too.

    The solver process imports this module again (as a spawned process does with the main one): it must stay light.
    """
    try:
        from twin.cli.app import call

        call()
    except KeyboardInterrupt:
        sys.stderr.write("vpptwin: interrupted\n")
        sys.exit(130)
