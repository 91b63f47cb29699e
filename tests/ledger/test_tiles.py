"""Tiles: a folder of static files from which anyone can check the log."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import Draft, places, tiles, tlog
from ledger.errors import LedgerForked, TileError
from ledger.fsck import faults
from ledger.tiles import TileReader, folder_fetch, publish, tile_path, tiles_of


def grown(village, count: int) -> None:
    """Append entries that are cheap to make."""
    size = village.ledger.head().size
    village.ledger.append_many(
        [
            Draft("dispatch", {"slot": n, "slot_s": 900, "plan": "p", "digest": "ab" * 32}, f"g:{n}", "vpp")
            for n in range(size, size + count)
        ]
    )


@pytest.fixture
def published(village):
    """(village, folder) of a log of 600 entries, published when it had 300 and again at 600."""
    folder = places.tiles(village.folder)
    for size in (300, 600):
        grown(village, size - village.ledger.head().size)
        publish(village.ledger._store, folder, village.ledger.checkpoint())
    return village, folder


def test_paths_are_those_of_the_specification():
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path("entries", 5, 7) == "tile/entries/005.p/7"
    found = list(tiles_of(70_000))
    assert sum(level == 0 and width == 256 for level, _, width in found) == 273
    assert [tile for tile in found if tile[2] != 256] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]


@given(st.integers(0, 70_000), st.integers(0, 70_000))
def test_what_was_full_before_is_not_written_again(one, other):
    since, size = min(one, other), max(one, other)
    before = {tile for tile in tiles_of(since) if tile[2] == 256}
    assert set(tiles_of(size)) == set(tiles_of(size, since)) | before
    assert before.isdisjoint(tiles_of(size, since))


def test_a_published_log_holds_and_proves_every_entry(published):
    village, folder = published
    assert list(faults(folder, village.keys.signer("homes/main").verifier)) == []
    reader, root = TileReader(folder_fetch(folder), 600), bytes.fromhex(village.ledger.head().root)
    assert reader.root() == root
    assert list(reader.entries(299)) == [row[5] for row in village.ledger._store.rows(299)]
    for seq in random.Random(1).sample(range(600), 60):
        assert tlog.inclusion(reader.node, seq, 600) == village.ledger.inclusion(seq)
        assert tlog.consistency(reader.node, seq + 1, 600) == village.ledger.consistency(seq + 1)
    assert not list(folder.glob("tile/0/000.p/*")), "partial tiles go when the full one is there"
    assert {path.name for path in folder.glob("tile/0/*")} == {"000", "001", "002.p"}


def test_every_flipped_bit_of_a_published_file_is_found(published):
    village, folder = published
    verifier = village.keys.signer("homes/main").verifier
    dice = random.Random(9)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        good = path.read_bytes()
        for _ in range(4):
            at = dice.randrange(len(good))
            path.write_bytes(good[:at] + bytes([good[at] ^ 1 << dice.randrange(8)]) + good[at + 1 :])
            assert list(faults(folder, verifier)), f"{path.name} byte {at}"
        path.unlink()
        assert list(faults(folder, verifier)) or path.parts[-2:] == ("000.p", "1"), f"{path} is missing"
        path.write_bytes(good)
    assert not list(faults(folder, verifier))


def test_a_signed_head_over_other_tiles_is_refused(published, make_village):
    _, folder = published
    other = make_village("other", seed=2).slots(1)
    with pytest.raises(LedgerForked, match="published is a head"):
        publish(other.ledger._store, folder, other.ledger.checkpoint())
    assert faults(folder, other.keys.signer("homes/main").verifier)
    assert "not signed" in next(faults(folder, other.keys.signer("homes/main").verifier))


def test_a_partial_tile_is_read_from_the_full_one_it_grew_into(published):
    village, folder = published
    early = TileReader(folder_fetch(folder), 300)
    leaves = [row[4] for row in village.ledger._store.rows()]
    assert early.root() == tlog.root(leaves[:300])
    assert [hashlib.sha256(b"\0" + data).digest() for data in early.entries()] == leaves[:300]


def test_cut_bundles_and_missing_tiles_are_said(published):
    _, folder = published
    with pytest.raises(TileError, match="cut"):
        tiles.unbundled(b"\x00\x05abc")
    with pytest.raises(TileError, match="cannot be read"):
        TileReader(folder_fetch(folder / "nothing"), 600).root()
    with pytest.raises(TileError, match="publish the tiles again"):
        list(TileReader(folder_fetch(folder), 700).entries())
