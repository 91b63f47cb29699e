"""Metering batches: the readings of a device and period as leaves of a Merkle tree whose root an entry holds.

A leaf is salted with a 128-bit nonce kept beside the reading: without it the neighbours' readings could be guessed
from the sibling hashes of a proof.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping

from ledger import canon, tlog
from ledger.errors import CanonError

NONCE_SIZE = 16


def nonce(key: bytes, device: str, ts_us: int, seq: int) -> bytes:
    """128-bit salt of one reading: HMAC-SHA256 of (device, time, sequence number) under the run's nonce key."""
    return hmac.digest(key, f"{device}\n{ts_us}\n{seq}".encode(), "sha256")[:NONCE_SIZE]


def reading_leaf(ts_us: int, quality: int, quanta: Mapping[str, int], nonce: bytes) -> bytes:
    """Canonical bytes of one reading: time (µs UTC), quality code, points as integer numbers of quanta, salt.

    A point without a value is left out. Raises CanonError if a value is not an integer or the salt is short.
    """
    if len(nonce) != NONCE_SIZE:
        raise CanonError(f"a reading's salt has {NONCE_SIZE} bytes", where="batch", mend="use batch.nonce")
    return canon.dumps({"n": nonce.hex(), "p": dict(quanta), "q": quality, "t": ts_us})


def batch_root(leaves: Iterable[bytes]) -> str:
    """Hex Merkle root over readings in time order, each as `reading_leaf` gives it; the empty tree's root if none."""
    return tlog.root(tlog.leaf_hash(leaf) for leaf in leaves).hex()


def prove(leaves: list[bytes], index: int) -> list[str]:
    """Hex audit path of one reading within its batch, to be checked by tlog.verify_inclusion."""
    hashes = [tlog.leaf_hash(leaf) for leaf in leaves]
    return [h.hex() for h in tlog.inclusion(tlog.reader(hashes), index, len(hashes))]
