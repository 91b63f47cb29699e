"""Heads that were signed, wherever they are kept: the log must extend each, and a quorum must have cosigned one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ledger import note, places
from ledger.errors import NoteError
from ledger.findings import Pass
from ledger.policy import NONE, Policy


def pinned(folder: Path, name: str, heads: Sequence[str]) -> list[tuple[str, int | None, str]]:
    """(where, None, note) of the heads kept outside the database."""
    pin = places.pin(folder, name)
    kept: list[tuple[str, int | None, str]] = [("pin", None, pin.read_text(errors="replace"))] if pin.exists() else []
    return kept + [(f"head {n} held elsewhere", None, text) for n, text in enumerate(heads)]


def sizes(kept: Sequence[tuple[str, int | None, str]]) -> list[tuple[str, int]]:
    """(where, size) of those that can be read."""
    found = []
    for where, _, text in kept:
        try:
            found.append((where, note.Checkpoint.parse(note.Note.parse(text).text).size))
        except NoteError:
            continue  # reported by signed_size
    return found


def signed_size(walk: Pass, kept: Sequence[tuple[str, int | None, str]]) -> int:
    """Each signed head must be by the log's key of its time, and the log must have that root at that size."""
    largest = 0
    for where, size, text in kept:
        try:
            head = _signed(walk, text)
        except NoteError as error:
            walk.report("head", where, str(error))
            continue
        if size is not None and size != head.size:
            walk.report("head", where, f"row says size {size}, note says {head.size}")
        elif head.origin != walk.chain.log:
            walk.report("head", where, f"is of log {head.origin!r}, this is {walk.chain.log!r}")
        elif head.size > walk.tree.size:
            walk.report(
                "head", where, f"signed at {head.size} entries, only {walk.tree.size} are here: the log was cut"
            )
        elif walk.roots.get(head.size) != head.root:
            walk.report(
                "head", where, f"another root was signed at {head.size} entries: an entry up to there was changed"
            )
        else:
            largest = max(largest, head.size)
    return largest


def cosigned_size(walk: Pass, kept: Sequence[tuple[str, int | None, str]], policy: Policy) -> int:
    """Size of the largest head of this log that the policy accepts."""
    largest, why = 0, "there is no signed head"
    for where, _, text in kept:
        try:
            policy.cosigned(text)
        except NoteError as error:
            walk.report("witness", where, str(error))
            continue
        try:
            head = policy.accept(text)
        except NoteError as error:
            why = str(error)
            continue
        if walk.roots.get(head.size) == head.root and head.origin == walk.chain.log:
            largest = max(largest, head.size)
    if not largest and policy.quorum != NONE:
        walk.report("witness", "heads", f"none is cosigned by the quorum of the policy: {why}")
    return largest


def _signed(walk: Pass, text: str) -> note.Checkpoint:
    parsed = note.Note.parse(text)
    head = note.Checkpoint.parse(parsed.text)
    held = [vkey for since, vkey in walk.log_keys if since < head.size]
    if not held or not parsed.verify([note.Verifier.parse(held[-1])]):
        raise NoteError("not signed by the log's key of that time (genesis, key.rotate)", where="checkpoint")
    return head
