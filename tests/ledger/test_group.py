"""Group commit: many producers, one transaction; a refusal stands alone."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from ledger import Draft, Ledger
from ledger.errors import EntryRefused, IdConflict, LedgerBroken
from ledger.group import GroupCommit
from ledger.verify import verify


def dispatch(n: int, plan: str = "p") -> Draft:
    return Draft("dispatch", {"slot": n, "slot_s": 900, "plan": plan, "digest": "ab" * 32}, f"d:{n}", "vpp")


def test_entries_of_many_threads_become_durable_together(village):
    size, seen = village.ledger.head().size, []
    with GroupCommit(village.ledger) as group:

        def produce(part: int) -> None:
            seen.extend(group.append(dispatch(part * 100 + n)).seq for n in range(20))

        threads = [threading.Thread(target=produce, args=(part,)) for part in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(seen) == list(range(size, size + 320))
    reader = Ledger.open(village.folder, readonly=True)
    assert reader.head() == village.ledger.head()
    reader.close()
    assert verify(village.folder).ok


def test_a_refused_draft_fails_alone(village):
    size = village.ledger.head().size
    with GroupCommit(village.ledger) as group:
        future = group.submit(
            [dispatch(1), Draft("settlement", {}, "bad", "vpp"), dispatch(1), dispatch(1, "q"), dispatch(2)]
        )
        first, refused, again, conflict, last = future.result()
        assert (first.seq, again.status, last.seq) == (size, "exists", size + 1)
        assert isinstance(refused, EntryRefused)
        assert isinstance(conflict, IdConflict)
        with pytest.raises(IdConflict, match="another content"):
            group.append(dispatch(1, "other"))
        assert group.append(dispatch(2)).status == "exists"
    assert village.ledger.replay() == village.ledger.head()


def test_nothing_but_refusals_writes_nothing(village):
    before = village.ledger.head()
    results = village.ledger.append_each([Draft("settlement", {}, "bad", "vpp"), Draft("none", {}, "worse", "vpp")])
    assert all(isinstance(result, EntryRefused) for result in results)
    assert village.ledger.head() == before


def test_a_failing_store_is_said_to_every_producer(village):
    village.ledger._store._db.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with GroupCommit(village.ledger) as group:
        for n in range(2):
            with pytest.raises(LedgerBroken):
                group.append(dispatch(n))
    village.ledger.close()
    village.reopen()
    assert verify(village.folder).ok


def test_what_was_submitted_is_appended_before_it_stops(village):
    group = GroupCommit(village.ledger)
    futures = [group.submit([dispatch(n)]) for n in range(600)]
    group.close()
    assert [future.result()[0].status for future in futures] == ["appended"] * 600


def test_an_id_on_its_way_to_the_store_is_known(village):
    ledger, size = village.ledger, village.ledger.head().size
    (first,), written = ledger.append_later([dispatch(1)])
    again, conflict = ledger.append_later([dispatch(1), dispatch(1, "other")])[0]
    assert (first.seq, first.status) == (size, "appended")
    assert (again.seq, again.status) == (size, "exists")
    assert isinstance(conflict, IdConflict)
    assert written.done()
    assert ledger.head().size == size + 1
    assert verify(village.folder).ok


def test_a_write_that_fails_undoes_what_was_made_after_it(village):
    ledger, before = village.ledger, village.ledger.head()
    state = dict(ledger.state)
    ledger._store._db.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    _, written = ledger.append_later([dispatch(1)])
    with pytest.raises(LedgerBroken, match="disk full"):
        ledger.append_later([dispatch(2)])
    assert isinstance(written.exception(), sqlite3.Error)
    assert ledger.head() == before
    assert dict(ledger.state) == state
    ledger.close()
    village.reopen()
    assert village.ledger.head() == before
