"""Large logs are checked in chunks by several processes, with the same verdict as entry by entry."""

from __future__ import annotations

import random
import sqlite3

import pytest

from ledger import Draft, Ledger, chunks, places
from ledger.errors import LedgerBroken
from ledger.verify import verify

OwnProcess = chunks.Worker


@pytest.fixture
def large(village, monkeypatch):
    """The folder of a log of 150 entries, some of which move money, with chunks of 32: four and a part."""
    monkeypatch.setattr(chunks, "CHUNK", 32)
    monkeypatch.setattr(chunks, "LEVEL", 5)
    monkeypatch.setattr(chunks, "Worker", InPlace)
    bodies = [{"slot": n, "slot_s": 900, "plan": "p", "digest": "ab" * 32} for n in range(60)]
    village.ledger.append_many([Draft("dispatch", body, f"g:{body['slot']}", "vpp") for body in bodies])
    village.slots(3, start=4)
    village.ledger.checkpoint()
    village.slots(1, start=7)
    village.ledger.close()
    return village.folder


class InPlace:
    """Checks a part at once in this process, where it is small."""

    def __init__(self, part: chunks.Part) -> None:
        self.part = part

    def result(self) -> list[chunks.Edges | None]:
        return chunks.checked(self.part)

    def stop(self) -> None:
        pass


def in_order(folder, monkeypatch, **options):
    with monkeypatch.context() as patched:
        patched.setattr(chunks, "CHUNK", 1 << 16)
        return verify(folder, **options)


def test_the_verdict_is_the_same(large, monkeypatch):
    for deep in (True, False):
        assert verify(large, deep=deep) == in_order(large, monkeypatch, deep=deep)
        assert verify(large, deep=deep).ok


STATEMENTS = (
    "UPDATE wallet SET micro = micro + 1 WHERE account = 'home-1'",
    "UPDATE posting SET micro = micro + 1 WHERE n = 0",
    "DELETE FROM posting WHERE seq = (SELECT max(seq) FROM posting)",
    "INSERT INTO posting VALUES (9999, 0, 'x', 0, 0)",
    "UPDATE node SET h = zeroblob(32) WHERE level = 6",
    "UPDATE node SET h = zeroblob(32) WHERE level = 2 AND idx = 3",
    "INSERT INTO node VALUES (9, 9, zeroblob(32))",
    "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 33",
    "UPDATE entry SET ts = ts + 1 WHERE seq = 64",
    "UPDATE entry SET kind = 'x' WHERE seq = 40",
    "UPDATE entry SET eid = 'x' WHERE seq = 40",
    "UPDATE entry SET data = cast(data || ' ' AS BLOB) WHERE seq = 31",
    "DELETE FROM entry WHERE seq = 32",
    "UPDATE meta SET value = 'x' WHERE key = 'log'",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_change_is_found_with_the_same_words(large, monkeypatch, statement):
    db = sqlite3.connect(places.database(large), isolation_level=None)
    db.execute(statement)
    db.close()
    report = verify(large)
    assert not report.ok
    assert report == in_order(large, monkeypatch)


def test_random_bytes_are_found_with_the_same_words(large, monkeypatch):
    path, dice = places.database(large), random.Random(2)
    good = path.read_bytes()
    for _ in range(12):
        at = dice.randrange(4096, len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << dice.randrange(8)]) + good[at + 1 :])
        assert verify(large) == in_order(large, monkeypatch)


def test_processes_of_their_own_agree(large, monkeypatch):
    monkeypatch.setattr(chunks, "Worker", OwnProcess)
    assert verify(large) == in_order(large, monkeypatch)
    db = sqlite3.connect(places.database(large), isolation_level=None)
    db.execute("UPDATE entry SET kind = 'x' WHERE seq = 40")
    db.close()
    assert verify(large) == in_order(large, monkeypatch)


def test_a_large_log_opens_with_the_same_state(large, monkeypatch):
    with Ledger.open(large, readonly=True) as ledger:
        found = ledger.head(), dict(ledger.state), ledger.inclusion(70), ledger.consistency(33)
    monkeypatch.setattr(chunks, "CHUNK", 1 << 16)
    with Ledger.open(large, readonly=True) as ledger:
        assert found == (ledger.head(), dict(ledger.state), ledger.inclusion(70), ledger.consistency(33))
        assert ledger.replay() == ledger.head()


@pytest.mark.parametrize("column", ["leaf = zeroblob(32)", "data = cast(data || ' ' AS BLOB)"])
def test_a_large_log_that_was_changed_does_not_open(large, column):
    db = sqlite3.connect(places.database(large), isolation_level=None)
    db.execute(f"UPDATE entry SET {column} WHERE seq = 40")
    db.close()
    with pytest.raises(LedgerBroken, match="entry 40"):
        Ledger.open(large, readonly=True)


def test_without_processes_the_log_is_walked(large, monkeypatch):
    expected = in_order(large, monkeypatch)
    monkeypatch.setattr(chunks, "Worker", OwnProcess)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert verify(large) == expected


@pytest.mark.torture
def test_a_log_of_real_chunks(village):
    """Two real processes, two real chunks and a part."""
    count = 2 * chunks.CHUNK + 700
    for start in range(village.ledger.head().size, count, 8192):
        bodies = [
            {"slot": n, "slot_s": 900, "plan": "p", "digest": "ab" * 32} for n in range(start, min(start + 8192, count))
        ]
        village.ledger.append_many([Draft("dispatch", body, f"g:{body['slot']}", "vpp") for body in bodies])
    head = village.ledger.head()
    village.ledger.close()
    for deep in (True, False):
        report = verify(village.folder, deep=deep)
        assert report.ok, report.findings
        assert (report.entries, report.root, report.signed_size) == (count, head.root, count)
