"""Metering batches."""

from __future__ import annotations

import pytest

from ledger import KeyRing, batch, tlog
from ledger.errors import CanonError

KEY = KeyRing.derived(3).nonce_key()


def leaf(n: int, value: int = 5) -> bytes:
    return batch.reading_leaf(n * 1000, 0, {"p_w": value, "e_imp_wh": n}, batch.nonce(KEY, "meter-1", n * 1000, n))


def test_a_leaf_is_canonical_and_salted():
    assert leaf(1).startswith(b'{"n":"')
    assert b'"p":{"e_imp_wh":1,"p_w":5}' in leaf(1)
    assert batch.nonce(KEY, "a", 1, 2) == batch.nonce(KEY, "a", 1, 2)
    assert len({batch.nonce(KEY, *where) for where in (("a", 1, 2), ("b", 1, 2), ("a", 2, 2), ("a", 1, 3))}) == 4


def test_one_reading_can_be_proved_without_the_others():
    leaves = [leaf(n) for n in range(15)]
    root = bytes.fromhex(batch.batch_root(leaves))
    proof = tlog.parse_hashes(batch.prove(leaves, 9))
    assert tlog.verify_inclusion(tlog.leaf_hash(leaves[9]), 9, 15, proof, root)
    assert not tlog.verify_inclusion(tlog.leaf_hash(leaf(9, value=6)), 9, 15, proof, root)


def test_any_change_changes_the_root():
    leaves = [leaf(n) for n in range(6)]
    roots = {batch.batch_root(leaves), batch.batch_root(leaves[::-1]), batch.batch_root(leaves[:-1])}
    roots.add(batch.batch_root([*leaves[:3], leaf(3, value=6), *leaves[4:]]))
    assert len(roots) == 4
    assert batch.batch_root([]) == tlog.EMPTY.hex()


def test_a_float_or_a_short_salt_is_refused():
    with pytest.raises(CanonError):
        batch.reading_leaf(1, 0, {"p_w": 1.5}, bytes(16))  # type: ignore[dict-item]
    with pytest.raises(CanonError, match="16 bytes"):
        batch.reading_leaf(1, 0, {"p_w": 1}, bytes(8))
