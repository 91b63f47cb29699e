"""The one table from errors to exit statuses: 0 ok, 1 a check failed, 2 usage or configuration, 3 a real fault."""

from __future__ import annotations

import sqlite3

from twin.errors import TwinError

OK, FINDING, USAGE, FAULT, INTERRUPTED = 0, 1, 2, 3, 130


class UsageError(TwinError):
    """The call or the configuration is wrong; the message says how to mend it."""


def known() -> tuple[type[Exception], ...]:
    """Errors that become a message and an exit status."""
    return tuple(kind for kind, _ in _faults())


def status(error: Exception) -> int:
    """The exit status for an error of a kind in `known`."""
    return next(code for kind, code in _faults() if isinstance(error, kind))


def _faults() -> tuple[tuple[type[Exception], int], ...]:
    """First match wins. The packages' errors are imported when there is one: `vpptwin --help` waits for no package."""
    from controller.errors import ControllerError
    from devices.errors import DeviceError
    from ledger.errors import LedgerError

    return (
        (UsageError, USAGE),
        (TwinError, FAULT),
        (DeviceError, FAULT),
        (LedgerError, FAULT),
        (ControllerError, FAULT),
        (OSError, FAULT),
        (sqlite3.Error, FAULT),
    )
