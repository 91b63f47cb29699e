"""Merkle tree against the definition of RFC 6962, proofs against every kind of tampering."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import tlog
from ledger.errors import ProofError


def by_definition(data: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, as written there."""
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = 1
    while 2 * k < len(data):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(data[:k]) + by_definition(data[k:])).digest()


VECTORS = Path(__file__).parent / "data" / "merkle" / "vectors.json"
DATA = [bytes([n]) * n for n in range(70)]
LEAVES = [tlog.leaf_hash(d) for d in DATA]
ROOTS = [by_definition(DATA[:n]) for n in range(len(DATA) + 1)]
NODES = tlog.reader(LEAVES)


def test_roots_follow_the_definition_and_known_values():
    assert [tlog.root(LEAVES[:n]) for n in range(len(DATA) + 1)] == ROOTS
    # RFC 6962: hash of the empty string, and of an empty leaf
    assert tlog.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tlog.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_all_inclusion_proofs_of_small_trees():
    for size in range(1, 40):
        for index in range(size):
            proof = tlog.inclusion(NODES, index, size)
            assert tlog.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


def test_all_consistency_proofs_of_small_trees():
    for second in range(1, 40):
        for first in range(1, second + 1):
            proof = tlog.consistency(NODES, first, second)
            assert tlog.verify_consistency(first, second, ROOTS[first], ROOTS[second], proof)


@given(st.data())
def test_a_tampered_inclusion_proof_fails(data):
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    proof = tlog.inclusion(NODES, index, size)
    at = data.draw(st.integers(0, len(proof) - 1))
    changed = [*proof[:at], bytes([proof[at][0] ^ 1, *proof[at][1:]]), *proof[at + 1 :]]
    assert not tlog.verify_inclusion(LEAVES[index], index, size, changed, ROOTS[size])
    assert not tlog.verify_inclusion(LEAVES[index], index, size, proof[:-1], ROOTS[size])
    assert not tlog.verify_inclusion(LEAVES[index], index, size, [*proof, proof[0]], ROOTS[size])
    wrong = data.draw(st.integers(0, size - 1).filter(lambda n: n != index))
    assert not tlog.verify_inclusion(LEAVES[wrong], index, size, proof, ROOTS[size])
    assert not tlog.verify_inclusion(LEAVES[index], wrong, size, proof, ROOTS[size])


@given(st.data())
def test_a_tampered_consistency_proof_fails(data):
    second = data.draw(st.integers(2, 70))
    first = data.draw(st.integers(1, second - 1))
    proof = tlog.consistency(NODES, first, second)
    at = data.draw(st.integers(0, len(proof) - 1))
    changed = [*proof[:at], bytes([proof[at][0] ^ 1, *proof[at][1:]]), *proof[at + 1 :]]
    assert not tlog.verify_consistency(first, second, ROOTS[first], ROOTS[second], changed)
    assert not tlog.verify_consistency(first, second, ROOTS[first], ROOTS[second], proof[:-1])
    assert not tlog.verify_consistency(first, second, ROOTS[first], ROOTS[second], [*proof, proof[0]])
    assert not tlog.verify_consistency(first, second, ROOTS[second], ROOTS[first], proof)


def test_verifier_traps():
    assert not tlog.verify_consistency(0, 5, ROOTS[0], ROOTS[5], [])
    assert not tlog.verify_consistency(5, 5, ROOTS[5], ROOTS[5], [LEAVES[0]])
    assert not tlog.verify_consistency(6, 5, ROOTS[6], ROOTS[5], [])
    assert tlog.verify_consistency(5, 5, ROOTS[5], ROOTS[5], [])
    two = LEAVES[0] + LEAVES[1]
    assert not tlog.verify_inclusion(two, 0, 1, [], tlog.node_hash(LEAVES[0], LEAVES[1]))
    assert not tlog.verify_inclusion(LEAVES[0], -1, 3, [], ROOTS[3])
    assert not tlog.verify_inclusion(LEAVES[0], 0, 0, [], ROOTS[0])
    with pytest.raises(ProofError, match="32 bytes"):
        tlog.parse_hashes(["ab" * 31])
    with pytest.raises(ProofError, match="hex"):
        tlog.parse_hashes(["zz"])


def test_a_node_is_never_a_leaf():
    """Second preimage: the bytes under an inner node, given as a leaf's data, hash to something else."""
    inner = LEAVES[0] + LEAVES[1]
    assert tlog.leaf_hash(inner) != tlog.node_hash(LEAVES[0], LEAVES[1])
    assert tlog.root([tlog.leaf_hash(inner)]) != ROOTS[2]


def test_proofs_outside_the_tree_are_refused():
    for index, size in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(ProofError):
            tlog.inclusion(NODES, index, size)
    for first, second in ((0, 3), (4, 3)):
        with pytest.raises(ProofError):
            tlog.consistency(NODES, first, second)


def test_the_published_vectors_of_another_implementation_hold():
    """All 196 inclusion and consistency vectors of transparency-dev/merkle: what must verify does, nothing else."""
    vectors = json.loads(VECTORS.read_text())
    accepted = {"inclusion": 0, "consistency": 0}
    for one in vectors:
        kind = one["file"].partition("/")[0]
        proof = [base64.b64decode(h) for h in one["proof"] or []]
        names = ("root", "leafHash") if kind == "inclusion" else ("root1", "root2")
        first, second = (base64.b64decode(one[name] or "") for name in names)
        if kind == "inclusion":
            good = tlog.verify_inclusion(second, one["leafIdx"], one["treeSize"], proof, first)
        else:
            good = tlog.verify_consistency(one["size1"], one["size2"], first, second, proof)
        assert good is not one["wantErr"], f"{one['file']}: {one['desc']}"
        accepted[kind] += good
    assert (len(vectors), accepted) == (196, {"inclusion": 6, "consistency": 6})


def test_a_root_level_by_level_is_that_of_the_growing_tree():
    tree = tlog.Frontier()
    leaves: list[bytes] = []
    for n in range(130):
        assert tlog.root(iter(leaves)) == tree.root()
        leaves.append(tlog.leaf_hash(str(n).encode()))
        tree.push(leaves[-1])
