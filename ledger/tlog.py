"""Merkle tree of a transparency log (RFC 6962 section 2.1; proofs verified as in RFC 9162 sections 2.1.3 and 2.1.4).

A complete subtree of 2^level leaves starting at index * 2^level is the node (level, index); nodes never change once
complete, so a proof is read from stored nodes. Hashes are 32 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from ledger.errors import ProofError

HASH_SIZE = 32
EMPTY = hashlib.sha256(b"").digest()
"""Root of the empty tree."""

NodeReader = Callable[[int, int], bytes]
"""(level, index) -> hash of a complete subtree."""
NodesReader = Callable[[Sequence[tuple[int, int]]], list[bytes]]
"""The same of several, in their order."""


def leaf_hash(data: bytes) -> bytes:
    """SHA256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The complete subtrees on the right edge of a growing tree: all that is needed to append and to give the root."""

    __slots__ = ("edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[bytes] = []
        """Hashes of the complete subtrees of `size`, largest first (one per set bit of size)."""

    def push(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append a leaf hash; returns the nodes (level >= 1, index, hash) it completes."""
        done: list[tuple[int, int, bytes]] = []
        index, level, h = self.size, 0, leaf
        while index & 1:
            h = node_hash(self.edge.pop(), h)
            index >>= 1
            level += 1
            done.append((level, index, h))
        self.edge.append(h)
        self.size += 1
        return done

    def root(self) -> bytes:
        """Merkle tree hash of all leaves so far."""
        if not self.edge:
            return EMPTY
        h = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            h = node_hash(left, h)
        return h

    def copy(self) -> Frontier:
        """An independent copy, to return to if a batch fails."""
        twin = Frontier()
        twin.size, twin.edge = self.size, self.edge.copy()
        return twin


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Merkle tree hash over leaf hashes, level by level: a subtree without a right neighbour rises as it is."""
    sha256, hashes = hashlib.sha256, list(leaf_hashes)
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        hashes = above if len(hashes) % 2 == 0 else [*above, hashes[-1]]
    return hashes[0] if hashes else EMPTY


def reader(leaf_hashes: Sequence[bytes]) -> NodeReader:
    """Nodes of a tree held in memory."""
    nodes: dict[tuple[int, int], bytes] = {}
    frontier = Frontier()
    for index, leaf in enumerate(leaf_hashes):
        nodes[0, index] = leaf
        nodes.update(((level, i), h) for level, i, h in frontier.push(leaf))

    def read(level: int, index: int) -> bytes:
        return nodes[level, index]

    return read


def range_hash(node: NodeReader, start: int, end: int) -> bytes:
    """Hash of the subtree over leaves [start, end), start a multiple of the power of two at or above its length."""
    length = end - start
    if length & (length - 1) == 0:
        level = length.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(length)
    return node_hash(node(_split(length).bit_length() - 1, start // _split(length)), range_hash(node, middle, end))


def inclusion(node: NodeReader, index: int, size: int) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `size` leaves (RFC 6962 section 2.1.1), nearest sibling first."""
    return inclusion_at_once(lambda places: [node(level, at) for level, at in places], index, size)


def inclusion_at_once(nodes: NodesReader, index: int, size: int) -> list[bytes]:
    """As `inclusion`, all subtrees it needs read by one call. Raises ProofError if there is no such leaf."""
    if not 0 <= index < size:
        raise ProofError(
            f"no leaf {index} in a tree of {size}", where="inclusion", mend="ask for an index below the size"
        )
    places: list[tuple[int, int]] = []
    edge = (0, 0)
    at, last, level = index, size - 1, 0
    while last:
        if at & 1:
            places.append((level, at - 1))
        elif at < last:
            if (at + 2) << level <= size:
                places.append((level, at + 1))
            else:  # the one sibling that is not complete: several subtrees, folded into one hash
                before = len(places)
                places += _subtrees((at + 1) << level, size)
                edge = (before, len(places))
        at, last, level = at >> 1, last >> 1, level + 1
    path = nodes(places)
    if edge[1]:
        folded = path[edge[1] - 1]
        for left in reversed(path[edge[0] : edge[1] - 1]):
            folded = node_hash(left, folded)
        path[edge[0] : edge[1]] = [folded]
    return path


def _subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """The complete subtrees over leaves [start, end), largest first; start as for `range_hash`."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def consistency(node: NodeReader, first: int, second: int) -> list[bytes]:
    """Proof that the tree of `second` leaves extends the tree of `first` (RFC 6962 section 2.1.2)."""
    if not 0 < first <= second:
        raise ProofError(
            f"no consistency from size {first} to {second}",
            where="consistency",
            mend="sizes must be 0 < first <= second",
        )
    path: list[bytes] = []
    start, end, whole = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(range_hash(node, middle, end))
            end = middle
        else:
            path.append(range_hash(node, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(range_hash(node, start, end))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2. The leaf must be a 32-byte hash: a longer one could be an inner node's preimage."""
    if len(leaf) != HASH_SIZE or not 0 <= index < size:
        return False
    fn, sn, h = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            h = node_hash(sibling, h)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            h = node_hash(h, sibling)
        fn >>= 1
        sn >>= 1
    return sn == 0 and h == expected_root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2. From size 0 nothing can be proved, so it is refused, not trivially true."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    old = new = path[0]
    for h in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(h, old), node_hash(h, new)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            new = node_hash(new, h)
        fn >>= 1
        sn >>= 1
    return sn == 0 and old == first_root and new == second_root


def parse_hashes(items: Sequence[str]) -> list[bytes]:
    """Hex hashes of a proof as bytes. Raises ProofError unless each has 32 bytes."""
    try:
        hashes = [bytes.fromhex(item) for item in items]
    except (ValueError, TypeError) as error:
        raise ProofError("a proof holds hex hashes", where="proof") from error
    if any(len(h) != HASH_SIZE for h in hashes):
        raise ProofError(f"a proof's hashes have {HASH_SIZE} bytes each", where="proof")
    return hashes


def _split(length: int) -> int:
    """Largest power of two below length (length >= 2)."""
    return 1 << ((length - 1).bit_length() - 1)
