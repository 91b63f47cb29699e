"""A receipt of one entry that can be checked offline, for ever: C2SP tlog-proof (head, cosignatures, index, path)."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from ledger import note, places, tlog
from ledger.errors import LedgerError, ProofError
from ledger.policy import Policy
from ledger.store import reading

FORMAT = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")


def entry_receipt(folder: Path, seq: int, *, name: str = places.MAIN) -> str:
    """The receipt of an entry under the last signed head. Raises LedgerError if it is not under one."""
    with reading(folder, name) as store:
        last = store.last_checkpoint()
        if last is None:
            raise LedgerError("no head is signed yet", where="receipt", mend="sign one (checkpoint, or close the log)")
        path = tlog.inclusion_at_once(store.proof_nodes, seq, last[0])
    hashes = "".join(base64.b64encode(h).decode() + "\n" for h in path)
    return f"{FORMAT}\nindex {seq}\n{hashes}\n{last[1]}"


def check(receipt: str, data: bytes, policy: Policy) -> note.Checkpoint:
    """The head under which these bytes stand. Raises ProofError or NoteError if they do not, or if it is not trusted.

    policy : whose signature and which cosignatures the head must have
    """
    top, blank, signed = receipt.partition("\n\n")
    lines = top.split("\n")
    if not blank or lines[0] != FORMAT:
        raise ProofError("not a tlog-proof", where="receipt", mend=f"it begins with {FORMAT}")
    del lines[0]
    if lines and lines[0].startswith("extra "):
        _decoded(lines.pop(0)[6:])
    index = _INDEX.fullmatch(lines[0]) if lines else None
    if index is None or len(lines) > 1 + MAX_PATH:
        raise ProofError("no index line, or too long a path", where="receipt")
    path = [_decoded(line) for line in lines[1:]]
    if any(len(h) != tlog.HASH_SIZE for h in path):
        raise ProofError(f"hashes have {tlog.HASH_SIZE} bytes each", where="receipt")
    head = policy.accept(signed)
    if not tlog.verify_inclusion(tlog.leaf_hash(data), int(index[1]), head.size, path, head.root):
        raise ProofError("the entry does not stand under this head", where="receipt")
    return head


def _decoded(text: str) -> bytes:
    """Strict base64: one value has one form."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ProofError("not base64", where="receipt") from error
    if base64.b64encode(raw).decode() != text:
        raise ProofError("not canonical base64", where="receipt")
    return raw
