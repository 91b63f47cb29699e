"""The body of add-checkpoint (C2SP tlog-witness): the old size, a consistency proof, and the signed head."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import NamedTuple

from ledger.errors import ProofError
from ledger.note import Checkpoint, Note
from ledger.tlog import HASH_SIZE

MAX_PROOF = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,15})")


class Request(NamedTuple):
    """A head to cosign, and the proof that it extends the head of `old` entries."""

    old: int
    proof: list[bytes]
    signed: str
    note: Note
    head: Checkpoint


def written(old: int, proof: Sequence[bytes], signed: str) -> bytes:
    """The body of a request."""
    lines = [f"old {old}", *(base64.b64encode(h).decode() for h in proof), "", ""]
    return ("\n".join(lines) + signed).encode()


def parsed(body: bytes) -> Request:
    """Raises ProofError or NoteError unless the form is exactly that of the protocol."""
    try:
        top, blank, signed = body.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise ProofError("not UTF-8", where="request") from error
    first, *lines = top.split("\n")
    old = _OLD.fullmatch(first)
    if not blank or old is None or len(lines) > MAX_PROOF:
        raise ProofError("not a request", where="request", mend="old <size>, up to 63 hashes, an empty line, the note")
    note = Note.parse(signed)
    return Request(int(old[1]), [_hash(line) for line in lines], signed, note, Checkpoint.parse(note.text))


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except ValueError as error:
        raise ProofError("a hash is no base64", where="request") from error
    if len(raw) != HASH_SIZE or base64.b64encode(raw).decode() != line:
        raise ProofError("a hash is no canonical base64 of 32 bytes", where="request")
    return raw
