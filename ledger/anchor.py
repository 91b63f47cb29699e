"""Anchors: the head of one log as an entry of another, with the proof that it extends the last one.

A checkpoint's digest is that of its text without signatures, so a head that is signed later is the same anchor.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger import drafts, note
from ledger.chain import Draft
from ledger.core import Ledger
from ledger.errors import ClockBehind


class Anchors:
    """The anchors between a main log and the parties' own logs."""

    def __init__(self, main: Ledger, apart: Mapping[str, Ledger]) -> None:
        self._main, self._apart = main, apart
        self._head: note.Checkpoint | None = None
        """The main log's last signed head, once it is known."""

    def sign(self, *, strict: bool) -> None:
        """Sign the main log's head. Raises ClockBehind if strict; else nothing is signed while the clock is behind."""
        try:
            self._head = _checkpoint(self._main.checkpoint())
        except ClockBehind:
            if strict:
                raise

    def up(self) -> list[Draft]:
        """The heads of the parties' logs that hold more than the main log knows of, for the main log."""
        found = []
        for log in self._apart.values():
            head = log.head()
            if head.size > _anchored(log, self._main)[0]:
                text = note.Checkpoint(log.log, head.size, bytes.fromhex(head.root))
                found.append(self._entry(log, text, self._main))
        return found

    def down(self, party: str) -> list[Draft]:
        """The main log's last signed head, for the log of a party that does not hold it yet."""
        log = self._apart[party]
        if self._head is None or self._head.size <= _anchored(self._main, log)[0]:
            return []
        return [self._entry(self._main, self._head, log)]

    def _entry(self, source: Ledger, head: note.Checkpoint, into: Ledger) -> Draft:
        last, _ = _anchored(source, into)
        return drafts.anchor(
            self._main.state[("genesis",)]["operator"],
            origin=source.log,
            size=head.size,
            root=head.root.hex(),
            note=head.digest,
            direction="up" if into is self._main else "down",
            proof=[h.hex() for h in source.consistency(last, head.size)] if last else [],
        )


def held(main: Ledger, log: str) -> list[note.Checkpoint]:
    """The head of another log that the main log anchored last: that log must have it."""
    size, root = main.state.get(("anchor", log), (0, ""))
    return [note.Checkpoint(log, size, bytes.fromhex(root))] if size else []


def _anchored(source: Ledger, into: Ledger) -> tuple[int, str]:
    """(size, root) of the head that one log holds of another; size 0 if none."""
    found: tuple[int, str] = into.state.get(("anchor", source.log), (0, ""))
    return found


def _checkpoint(signed: str) -> note.Checkpoint:
    return note.Checkpoint.parse(note.Note.parse(signed).text)
