"""Anchors: the signed head of one log as an entry of another, with the proof that it extends the last one."""

from __future__ import annotations

from ledger import drafts, note
from ledger.chain import Draft
from ledger.core import Ledger


def anchored(source: Ledger, into: Ledger) -> int:
    """The size of a log's head that another one anchored last; 0 if none."""
    size: int = into.state.get(("anchor", source.log), (0, ""))[0]
    return size


def signed_head(log: Ledger) -> note.Checkpoint:
    """The log's head, signed now."""
    return note.Checkpoint.parse(note.Note.parse(log.checkpoint()).text)


def entry(by: str, source: Ledger, head: note.Checkpoint, into: Ledger, direction: str) -> Draft:
    """The anchor of a log's head in another log, with the proof that it extends the one anchored before."""
    last = anchored(source, into)
    proof = [h.hex() for h in source.consistency(last, head.size)] if last else []
    return drafts.anchor(
        by, origin=source.log, size=head.size, root=head.root.hex(), note=head.digest, direction=direction, proof=proof
    )
