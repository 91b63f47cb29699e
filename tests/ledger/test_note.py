"""Signed notes: the published example of the format, signatures, everything malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import KeyRing, note
from ledger.errors import NoteError

KEYS = KeyRing.derived(7)
LOG, OTHER = KEYS.signer("homes/main"), KEYS.signer("witness-1")
HEAD = note.Checkpoint("homes/main", 5, bytes(range(32)))

# the example in the documentation of Go's golang.org/x/mod/sumdb/note: key and signature made by another program
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_signed_by_another_program_verifies():
    verifier = note.Verifier.parse(VKEY)
    assert note.Note.parse(PUBLISHED).verify([verifier]) == [verifier]
    assert verifier.vkey == VKEY
    with pytest.raises(NoteError, match="wrong signature"):
        note.Note.parse(PUBLISHED.replace("problem is", "problem was")).verify([verifier])


def test_a_checkpoint_comes_back():
    signed = note.sign(HEAD.text, LOG)
    parsed = note.Note.parse(signed)
    assert note.Checkpoint.parse(parsed.text) == HEAD
    assert parsed.verify([LOG.verifier]) == [LOG.verifier]
    assert parsed.verify([OTHER.verifier]) == []


def test_the_digest_leaves_signatures_out():
    assert HEAD.digest == note.Checkpoint.parse(note.Note.parse(note.sign(HEAD.text, LOG, OTHER)).text).digest


def test_cosignatures_bind_the_time():
    signed = note.sign(HEAD.text, LOG) + OTHER.cosignature(HEAD.text, 1_700_000_000)
    parsed = note.Note.parse(signed)
    assert parsed.verify([OTHER.cosigner, LOG.verifier]) == [LOG.verifier, OTHER.cosigner]
    name, ident, blob = parsed.signatures[1]
    later = note.Note(parsed.text, ((name, ident, blob[:7] + bytes([blob[7] ^ 1]) + blob[8:]),))
    with pytest.raises(NoteError):
        later.verify([OTHER.cosigner])
    assert OTHER.cosigner.key_id != OTHER.verifier.key_id


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_of_a_note_goes_unnoticed(at, bit):
    good = note.sign(HEAD.text, LOG).encode()
    at %= len(good)
    bad = good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :]
    try:
        accepted = note.Note.parse(bad.decode()).verify([LOG.verifier])
    except (NoteError, UnicodeDecodeError):
        return
    assert accepted == []


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— a b\n",
        "text\n\n— a AAAA",
        "text\n\n— a+b AAAAAAAAAAA=\n",
        "text\n\n- a AAAAAAAAAAA=\n",
        "te\x01xt\n\n— a AAAAAAAAAAA=\n",
        "text\n\n— a AAAAAAAAAAB=\n",
    ],
)
def test_malformed_notes_are_refused(bad):
    with pytest.raises(NoteError):
        note.Note.parse(bad)


@pytest.mark.parametrize(
    "bad",
    [
        HEAD.text + "extra\n",
        HEAD.text.replace("\n5\n", "\n05\n"),
        HEAD.text.replace("\n5\n", "\n-5\n"),
        "\n5\n" + HEAD.text.split("\n")[2] + "\n",
        "o\n5\nAAAA\n",
        "o\n5\n",
        HEAD.text.rstrip("\n"),
    ],
)
def test_malformed_checkpoints_are_refused(bad):
    with pytest.raises(NoteError):
        note.Checkpoint.parse(bad)


@pytest.mark.parametrize("bad", ["", "a+b", VKEY.replace("c74f", "c74e"), VKEY[:-4], "a b" + VKEY, VKEY + "x"])
def test_malformed_keys_are_refused(bad):
    with pytest.raises(NoteError):
        note.Verifier.parse(bad)
