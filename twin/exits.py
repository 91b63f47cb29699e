"""The one table from errors to exit statuses: 0 ok, 1 a check failed, 2 usage or configuration, 3 a real fault."""

from __future__ import annotations

import sqlite3

from controller.errors import ControllerError
from devices.errors import DeviceError
from ledger.errors import LedgerError
from twin.errors import TwinError

OK, FINDING, USAGE, FAULT, INTERRUPTED = 0, 1, 2, 3, 130


class UsageError(TwinError):
    """The call or the configuration is wrong; the message says how to mend it."""


FAULTS: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, USAGE),
    (TwinError, FAULT),
    (DeviceError, FAULT),
    (LedgerError, FAULT),
    (ControllerError, FAULT),
    (OSError, FAULT),
    (sqlite3.Error, FAULT),
)
"""First match wins."""

KNOWN = tuple(kind for kind, _ in FAULTS)


def status(error: Exception) -> int:
    """The exit status for an error of a kind in KNOWN."""
    return next(code for kind, code in FAULTS if isinstance(error, kind))
