"""Attacks on a ledger's files: each is noticed, by the layer that should. docs/ledger.md names those that cannot be."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import KeyRing, Ledger, canon, note, places, tlog
from ledger.chain import GENESIS_PREV
from ledger.errors import LedgerError
from ledger.verify import verify

ORIGIN = "homes/main"
Rows = list[dict[str, Any]]


def layers(folder: Path, **options: Any) -> set[str]:
    return {finding.layer for finding in verify(folder, **options).findings}


def closed(village: Any) -> Path:
    village.ledger.close()
    assert verify(village.folder).ok
    return village.folder


def execute(folder: Path, *statements: str) -> None:
    """Change the database behind the ledger's back."""
    db = sqlite3.connect(places.database(folder), isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def edit(folder: Path, seq: int, old: bytes, new: bytes) -> None:
    """Replace bytes within one entry's data."""
    db = sqlite3.connect(places.database(folder), isolation_level=None)
    data = db.execute("SELECT data FROM entry WHERE seq = ?", (seq,)).fetchone()[0]
    assert old in data
    db.execute("UPDATE entry SET data = ? WHERE seq = ?", (data.replace(old, new, 1), seq))
    db.close()


def rebuild(folder: Path, change: Callable[[Rows], Rows]) -> None:
    """A skilled insider: change the entries, renumber, chain and hash them all anew, rebuild the derived rows."""
    db = sqlite3.connect(places.database(folder), isolation_level=None)
    entries = change([canon.loads(row[0]) for row in db.execute("SELECT data FROM entry ORDER BY seq")])
    for table in ("entry", "node"):
        db.execute(f"DELETE FROM {table}")
    prev, tree = GENESIS_PREV, tlog.Frontier()
    for seq, entry in enumerate(entries):
        entry.update(seq=seq, prev=prev)
        data = canon.dumps(entry)
        leaf = tlog.leaf_hash(data)
        prev = leaf.hex()
        db.execute("INSERT INTO entry VALUES (?,?,?,?,?,?)", (seq, entry["ts"], entry["type"], entry["id"], leaf, data))
        db.executemany("INSERT INTO node VALUES (?,?,?)", tree.push(leaf))
    db.close()


def settlement_of(village: Any) -> int:
    return next(e["seq"] for e in village.ledger.entries() if e["type"] == "settlement")


def test_an_edited_entry_is_named(village):
    seq = settlement_of(village)
    folder = closed(village)
    edit(folder, seq, b'"price_micro":', b'"price_micro":1')
    report = verify(folder)
    assert {"derived", "rules", "head", "chain"} <= layers(folder)
    assert any(f"entry {seq} " in finding.where for finding in report.findings)
    assert "derived" in layers(folder, deep=False)


def test_every_single_changed_byte_of_an_entry_is_found_and_the_entry_named(village):
    seq = settlement_of(village)
    data = village.ledger._store.data(seq)
    folder = closed(village)
    for at in random.Random(5).sample(range(len(data)), 40):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        execute(folder, f"UPDATE entry SET data = x'{changed.hex()}' WHERE seq = {seq}")
        assert any(f"entry {seq} " in finding.where for finding in verify(folder).findings), at
    execute(folder, f"UPDATE entry SET data = x'{data.hex()}' WHERE seq = {seq}")
    assert verify(folder).ok


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda entries: [{**e, "ts": e["ts"] + 1} if e["seq"] == 3 else e for e in entries], id="edit"),
        pytest.param(lambda entries: [e for e in entries if e["type"] != "dispatch"][:-1], id="cut the tail"),
        pytest.param(lambda entries: [e for e in entries if e["id"] != "reg:home-2:0"], id="delete"),
        pytest.param(lambda entries: [*entries[:2], entries[3], entries[2], *entries[4:]], id="reorder"),
    ],
)
def test_edited_and_rehashed_to_the_end_only_a_head_held_elsewhere_catches(village, change):
    """The chain itself is sound again; what the insider cannot make is the log's signature under the new root."""
    folder = closed(village)
    kept_outside = places.pin(folder).read_text()
    rebuild(folder, change)
    assert "head" in layers(folder)
    execute(folder, "DELETE FROM checkpoint")
    places.pin(folder).unlink()
    assert "head" in layers(folder, heads=[kept_outside])


def test_two_entries_in_each_others_place_are_named(village):
    seq = settlement_of(village)
    folder = closed(village)
    execute(
        folder,
        f"UPDATE entry SET seq = -1 WHERE seq = {seq}",
        f"UPDATE entry SET seq = {seq} WHERE seq = {seq + 1}",
        f"UPDATE entry SET seq = {seq + 1} WHERE seq = -1",
    )
    report = verify(folder)
    assert {"chain", "tree", "head"} <= {finding.layer for finding in report.findings}
    assert any(f"entry {seq} " in finding.where for finding in report.findings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"run":0,', b'"run":0, '),
        (b'"run":0,', b'"run":0,"run":0,'),
        (b'"run":0,', b'"run":0e0,'),
        (b'"run":0,', b'"run":-0,'),
        (b'"run":0,', b'"run":0.0,'),
        (b'"run":0,', b'"run":false,'),
        (b'"v":1}', b'"v":1}\n'),
        (b'{"body"', b'{"a":1,"body"'),
        (b'"by":"vpp","id"', b'"id"'),
    ],
)
def test_another_spelling_of_an_entry_is_no_entry(village, old, new):
    """Even with its hash made anew: the reader takes only the bytes the writer would write."""
    seq = settlement_of(village)
    folder = closed(village)
    edit(folder, seq, old, new)
    db = sqlite3.connect(places.database(folder), isolation_level=None)
    data = db.execute("SELECT data FROM entry WHERE seq = ?", (seq,)).fetchone()[0]
    db.execute("UPDATE entry SET leaf = ? WHERE seq = ?", (tlog.leaf_hash(data), seq))
    db.close()
    assert layers(folder) & {"canon", "rules"}


def test_a_deleted_entry_is_missed(village):
    seq = settlement_of(village)
    folder = closed(village)
    execute(folder, f"DELETE FROM entry WHERE seq = {seq}")
    findings = verify(folder).findings
    assert any(f.layer == "chain" and f"entry {seq} " in f.where for f in findings)


def test_a_truncated_tail_is_missed(village):
    size = village.ledger.head().size
    folder = closed(village)
    execute(folder, f"DELETE FROM entry WHERE seq >= {size - 2}")
    assert "head" in layers(folder)
    with pytest.raises(LedgerError):
        village.reopen()


@pytest.mark.parametrize(
    ("statement", "layer"),
    [
        ("UPDATE wallet SET micro = micro + 1 WHERE account = 'home-1'", "derived"),
        ("UPDATE wallet SET wh = wh + 1 WHERE account = 'home-1'", "derived"),
        ("DELETE FROM wallet WHERE account = 'grid'", "derived"),
        ("INSERT INTO wallet VALUES ('thief', 0, 0)", "derived"),
        ("UPDATE posting SET micro = micro + 1 WHERE n = 0", "derived"),
        ("DELETE FROM posting WHERE n = 1", "derived"),
        ("UPDATE node SET h = zeroblob(32) WHERE level = 1 AND idx = 0", "tree"),
        ("DELETE FROM node WHERE level = 2", "tree"),
        ("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 4", "derived"),
        ("UPDATE entry SET ts = ts + 1 WHERE seq = 4", "derived"),
        ("UPDATE entry SET eid = 'other' WHERE seq = 4", "derived"),
        ("UPDATE entry SET kind = 'other' WHERE seq = 4", "derived"),
        ("UPDATE meta SET value = 'homes/other' WHERE key = 'log'", "rules"),
        ("UPDATE checkpoint SET size = size - 1", "head"),
        ("UPDATE checkpoint SET note = replace(note, 'homes/main', 'homes/mayn')", "head"),
        ("CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM wallet; END", "store"),
        ("CREATE INDEX i ON entry (ts)", "store"),
        ("PRAGMA user_version = 7", "store"),
    ],
)
def test_an_edited_derived_row_is_found(village, statement, layer):
    folder = closed(village)
    execute(folder, statement)
    assert layer in layers(folder)


def test_a_replaced_log_key_does_not_help(village):
    """The key stands in genesis; a head signed by another one is no head of this log."""
    head = village.ledger.head()
    folder = closed(village)
    thief = KeyRing.derived(666).signer(ORIGIN)
    text = note.Checkpoint(ORIGIN, head.size, bytes.fromhex(head.root)).text
    places.write_whole(places.pin(folder), note.sign(text, thief))
    assert layers(folder) == {"head"}


def test_an_old_head_replayed_is_true_but_small(village):
    """An old signed head still verifies; the report says up to where entries are under a signed head."""
    old = village.ledger.checkpoint()
    size = village.ledger.head().size
    village.slots(1, start=4)
    folder = closed(village)
    places.write_whole(places.pin(folder), old)
    execute(folder, f"DELETE FROM checkpoint WHERE size > {size}")
    report = verify(folder)
    assert report.ok
    assert report.signed_size == size < report.entries


def test_a_split_view_is_two_signed_heads_that_contradict(make_village):
    """Two logs of one name and key: the head shown to one victim convicts the log shown to the other."""
    one, other = make_village("one").slots(2), make_village("two")
    other.price(0)
    other.meter(0, {"home-1": 1, "home-2": -1, "vpp": 0, "grid": 0})
    other.settle(0)
    other.slots(2, start=1)
    shown = one.ledger.checkpoint()
    other.ledger.checkpoint()
    findings = verify(other.folder, heads=[shown]).findings
    assert [f.layer for f in findings] == ["head"]
    assert "another root was signed" in findings[0].what


def test_a_forged_history_in_another_log_is_refused(make_village):
    """Entries of one log cannot be moved into another: `log` and the signatures name where they belong."""
    village = make_village().slots(1)
    folder = closed(village)
    rebuild(folder, lambda entries: [{**e, "log": "homes/other"} for e in entries])
    execute(folder, "UPDATE meta SET value = 'homes/other' WHERE key = 'log'")
    assert "rules" in layers(folder)


def content(path: Path) -> object:
    """All a reader of the database can see, or that it cannot be read."""
    db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        tables = ("entry", "node", "posting", "wallet", "checkpoint", "meta", "sqlite_master")
        rows = [list(map(repr, db.execute(f"SELECT * FROM {table}"))) for table in tables]
        return rows, db.execute("PRAGMA user_version").fetchone(), db.execute("PRAGMA application_id").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return str(error)
    finally:
        db.close()


def parts(quick: int, long: int) -> list[Any]:
    """Parameters of a test: the first few always, the others in `make torture`."""
    return [*range(quick), *(pytest.param(n, marks=pytest.mark.torture) for n in range(quick, quick + long))]


@pytest.mark.parametrize("part", parts(1, 33))
def test_300_random_bit_flips_none_with_effect_unnoticed(make_village, part):
    """34 parts make the 10,000 flips of `make torture`. Effect: what a reader of any table sees."""
    village = make_village().slots(2)
    folder = closed(village)
    path = places.database(folder)
    good, truth = path.read_bytes(), content(path)
    dice, unnoticed, effective = random.Random(20 + part), [], 0
    for _ in range(300):
        at, bit = dice.randrange(len(good)), dice.randrange(8)
        put(path, at, good[at] ^ 1 << bit)
        if content(path) != truth:
            effective += 1
            if verify(folder).ok:
                unnoticed.append((at, bit))
        put(path, at, good[at])
        path.with_name("ledger.db-wal").unlink(missing_ok=True)
        path.with_name("ledger.db-shm").unlink(missing_ok=True)
    assert unnoticed == []
    assert effective > 50
    assert path.read_bytes() == good
    assert verify(folder).ok


def put(path: Path, at: int, byte: int) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([byte]))


def test_a_bit_flipped_in_the_pin_is_noticed(village):
    folder = closed(village)
    pin = places.pin(folder)
    good = pin.read_bytes()
    for at in random.Random(3).sample(range(len(good)), 25):
        pin.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert "head" in layers(folder), at


@pytest.mark.parametrize("part", parts(1, 99))
def test_a_damaged_write_ahead_log_loses_nothing_signed_unnoticed(make_village, tmp_path, part):
    """Ten a part, 1,000 in `make torture`: the WAL of a writer that is gone is flipped, cut, zeroed, mixed up or lost.

    The log opens with all that was signed, or refuses, and then `verify` names a finding.
    """
    village = make_village().slots(2)
    village.ledger.checkpoint()
    size, root = village.ledger.head()
    kept = tmp_path / "kept" / "ledger"
    shutil.copytree(village.folder, kept)
    outcomes = set()
    for seed in range(10 * part, 10 * part + 10):
        hurt = tmp_path / f"hurt-{seed}" / "ledger"
        shutil.copytree(kept, hurt)
        damage(places.database(hurt).with_name("ledger.db-wal"), random.Random(seed))
        try:
            ledger = Ledger.open(hurt, keys=village.keys, now_us=lambda: village.now)
        except LedgerError:
            assert not_ok(hurt), seed
            outcomes.add("refused")
            continue
        assert ledger.head() == (size, root), seed
        ledger.close()
        assert verify(hurt).ok, seed
        outcomes.add("whole")
        shutil.rmtree(hurt.parent)
    assert "refused" in outcomes


def damage(wal: Path, dice: random.Random) -> None:
    """One of five ways in which a file comes back from a broken disk."""
    data = bytearray(wal.read_bytes())
    assert len(data) > 10_000
    at, other = dice.randrange(len(data)), dice.randrange(len(data))
    way = dice.randrange(5)
    if way == 0:
        data[at] ^= 1 << dice.randrange(8)
    elif way == 1:
        del data[at:]
    elif way == 2:
        data[at : at + 4096] = bytes(len(data[at : at + 4096]))
    elif way == 3:
        data[at : at + 512], data[other : other + 512] = data[other : other + 512], data[at : at + 512]
    else:
        data.clear()
    wal.write_bytes(data)


def not_ok(folder: Path) -> bool:
    try:
        return not verify(folder).ok
    except LedgerError:
        return True
