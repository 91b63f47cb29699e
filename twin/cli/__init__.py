"""The command line: parse, call, print. `main` is the entry point of `vpptwin`."""

from twin.cli.main import main

__all__ = ["main"]
