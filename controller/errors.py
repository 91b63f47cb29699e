"""The root of all errors that controller/ raises: each says what went wrong, where, and how to mend it."""

from __future__ import annotations


class ControllerError(Exception):
    """what, where and mend are separate so that a page or a log line can show them apart; str() joins them.

    All three are kept in args, by which an error is pickled on its way out of the solver process.
    """

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(what, where, mend)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}; {self.mend}" if self.mend else head
