"""The root of all errors that ledger/ raises: each says what went wrong, where, and how to mend it."""

from __future__ import annotations


class LedgerError(Exception):
    """what, where and mend are separate so that a page or a log line can show them apart; str() joins them.

    All three are kept in args, by which an error is pickled on its way out of the solver process.
    """

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(what, where, mend)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}; {self.mend}" if self.mend else head


class CanonError(LedgerError):
    """A value has no canonical form, or bytes are not in canonical form."""


class ProofError(LedgerError):
    """A proof cannot be built or read."""


class NoteError(LedgerError):
    """A signed note is malformed, or no signature of a trusted key stands under it."""


class PolicyError(LedgerError):
    """A policy of logs and witnesses does not follow its format."""


class TileError(LedgerError):
    """A published tile is missing or does not belong to the tree."""


class WitnessError(LedgerError):
    """Witnesses did not answer, or refused a head: too few cosignatures were had."""


class EntryRefused(LedgerError):
    """A rule (guard) refuses an entry; the ledger is unchanged."""


class IdConflict(EntryRefused):
    """An entry of this id exists with another content."""


class ClockBehind(LedgerError):
    """The clock is more than 5 s behind the last entry; no checkpoint is signed until it has caught up."""


class LedgerLocked(LedgerError):
    """Another process writes to this log."""


class LedgerTruncated(LedgerError):
    """The log is shorter than a head it has signed: a restored backup, or a cut tail."""


class LedgerForked(LedgerError):
    """The log has another root than a head it has signed at that size."""


class LedgerBroken(LedgerError):
    """The store failed while committing; nothing more is written through this handle."""


class LedgerUnreadable(LedgerError):
    """There is no log here, or it cannot be read at all."""
