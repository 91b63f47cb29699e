"""Receipts of single entries: checked by bytes, policy and path, and by nothing else."""

from __future__ import annotations

import random

import pytest

from ledger import receipt
from ledger.errors import LedgerError, NoteError, ProofError
from ledger.note import Signer, Verifier
from ledger.policy import Place, Policy


def trusting(verifier: Verifier) -> Policy:
    return Policy([Place(verifier)], quorum="none")


@pytest.fixture
def own(village) -> Policy:
    village.ledger.checkpoint()
    signer: Signer = village.keys.signer("homes/main")
    return trusting(signer.verifier)


def test_a_receipt_holds_for_its_entry_and_key_only(village, own):
    size = village.ledger.head().size
    for seq in (0, 7, size - 1):
        text, data = receipt.entry_receipt(village.folder, seq), village.ledger._store.data(seq)
        assert receipt.check(text, data, own).size == size
        assert receipt.check(text.replace("@v1\n", "@v1\nextra AAEC\n", 1), data, own).size == size
        with pytest.raises(ProofError, match="does not stand"):
            receipt.check(text, data + b" ", own)
        with pytest.raises(ProofError):
            receipt.check(text.replace(f"index {seq}", f"index {seq + 1}"), data, own)
        with pytest.raises(NoteError, match="not signed"):
            receipt.check(text, data, trusting(Verifier("homes/main", bytes(32))))


def test_no_bit_of_a_receipt_can_be_flipped(village, own):
    """Except within base64's ignored name of a signature, every bit is held; here none is ignored."""
    text, data = receipt.entry_receipt(village.folder, 5).encode(), village.ledger._store.data(5)
    for at, bit in [(at, random.Random(at).randrange(8)) for at in range(len(text))]:
        changed = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]
        with pytest.raises(LedgerError):
            receipt.check(changed.decode("utf-8", "surrogateescape"), data, own)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 5", "index 05"),
        ("index 5", "index -1"),
        ("index 5", "index 5\nAAAA"),
        ("index 5", "index 5" + "\n" + "\n".join(["A" * 43 + "="] * 64)),
        ("index 5", "extra =\nindex 5"),
        ("index 5\n", ""),
    ],
)
def test_other_forms_are_refused(village, own, old, new):
    text, data = receipt.entry_receipt(village.folder, 5), village.ledger._store.data(5)
    assert old in text
    with pytest.raises(LedgerError):
        receipt.check(text.replace(old, new, 1), data, own)
