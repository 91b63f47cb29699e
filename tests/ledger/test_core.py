"""Ledger.create, open, append, checkpoint, proofs, robust start."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ledger import Draft, KeyRing, Ledger, drafts, places, tlog
from ledger.errors import (
    ClockBehind,
    EntryRefused,
    IdConflict,
    LedgerBroken,
    LedgerError,
    LedgerForked,
    LedgerLocked,
    LedgerTruncated,
    LedgerUnreadable,
)
from ledger.verify import verify

ORIGIN = "homes/main"


def test_a_settled_village_verifies_and_sums_to_zero(village):
    village.ledger.checkpoint()
    report = verify(village.folder)
    assert report.ok, report.findings
    assert (report.entries, report.root) == village.ledger.head()
    assert report.signed_size == report.entries
    wallets = village.ledger.wallets()
    assert sum(micro for micro, _ in wallets.values()) == 0
    assert sum(wh for _, wh in wallets.values()) == 0
    assert wallets["residual"] == (0, -4)


def test_the_run_folder_is_as_good_as_the_ledger_folder(village):
    village.ledger.checkpoint()
    assert verify(village.folder.parent).root == verify(village.folder).root


def test_same_seed_same_root_and_same_bytes(make_village):
    one, other = make_village("one").slots(3), make_village("two").slots(3)
    assert one.ledger.head() == other.ledger.head()
    assert list(one.ledger._store.rows()) == list(other.ledger._store.rows())
    assert one.ledger.checkpoint() == other.ledger.checkpoint()
    assert make_village("three", seed=2).slots(3).ledger.head() != one.ledger.head()


def test_an_id_names_one_content_for_ever(village):
    ledger = village.ledger
    body = {"slot": 0, "slot_s": 900, "plan": "p", "digest": "ab" * 32}
    first = ledger.append("dispatch", body, id="dsp:0", by="vpp")
    again = ledger.append("dispatch", dict(body), id="dsp:0", by="vpp")
    assert (first.status, again.status) == ("appended", "exists")
    assert (first.seq, first.leaf) == (again.seq, again.leaf)
    size = ledger.head().size
    with pytest.raises(IdConflict, match="another content"):
        ledger.append("dispatch", {**body, "plan": "q"}, id="dsp:0", by="vpp")
    assert ledger.head().size == size


def test_the_same_id_twice_in_one_batch(village):
    body = {"slot": 0, "slot_s": 900, "plan": "p", "digest": "ab" * 32}
    twice = [("dispatch", body, "d", "vpp"), ("dispatch", body, "d", "vpp")]
    assert [r.status for r in village.ledger.append_many(twice)] == ["appended", "exists"]
    size = village.ledger.head().size
    with pytest.raises(IdConflict):
        village.ledger.append_many([("dispatch", body, "e", "vpp"), ("dispatch", {**body, "plan": "x"}, "e", "vpp")])
    assert village.ledger.head().size == size


def test_a_batch_is_all_or_nothing(village):
    before, state = village.ledger.head(), dict(village.ledger.state)
    good = Draft("dispatch", {"slot": 0, "slot_s": 900, "plan": "p", "digest": "ab" * 32}, "dsp:good", "vpp")
    with pytest.raises(EntryRefused):
        village.ledger.append_many([good, Draft("settlement", {}, "stl:bad", "vpp")])
    assert village.ledger.head() == before
    assert dict(village.ledger.state) == state
    village.ledger.append_many([good])
    assert village.ledger.replay() == village.ledger.head()


def test_time_never_stands_still_or_goes_back(village):
    village.now -= 3_000_000
    village.meter(9)
    stamps = [entry["ts"] for entry in village.ledger.entries()]
    assert all(a < b for a, b in pairwise(stamps))


def test_a_clock_far_behind_is_said_and_blocks_checkpoints_until_cured(village):
    last = village.ledger.entries()[-1]["ts"]
    village.now = last - 60_000_000
    with pytest.raises(ClockBehind):
        village.ledger.checkpoint()
    village.ledger.append("dispatch", {"slot": 0, "slot_s": 900, "plan": "p", "digest": "ab" * 32}, id="x", by="vpp")
    assert village.ledger.entries()[-2]["body"] == {"behind_us": 60_000_000}
    with pytest.raises(ClockBehind):
        village.ledger.checkpoint()
    village.now = last + 1_000_000
    village.ledger.append("dispatch", {"slot": 1, "slot_s": 900, "plan": "p", "digest": "ab" * 32}, id="y", by="vpp")
    assert village.ledger.entries()[-2]["type"] == "tool.clock"
    village.ledger.checkpoint()
    assert verify(village.folder).ok


def test_every_entry_is_included_and_every_head_consistent(village):
    ledger, size = village.ledger, village.ledger.head().size
    root = bytes.fromhex(ledger.head().root)
    leaves = [row[4] for row in ledger._store.rows()]
    for seq in range(size):
        assert tlog.verify_inclusion(leaves[seq], seq, size, ledger.inclusion(seq), root)
        first = tlog.root(leaves[: seq + 1])
        assert tlog.verify_consistency(seq + 1, size, first, root, ledger.consistency(seq + 1))


def test_reopening_gives_the_same_head_and_state(village):
    head, state = village.ledger.head(), dict(village.ledger.state)
    village.ledger.close()
    village.reopen()
    assert (village.ledger.head(), dict(village.ledger.state)) == (head, state)
    village.slots(1, start=4)
    assert verify(village.folder).ok


def test_one_writer_many_readers(village):
    with pytest.raises(LedgerLocked):
        Ledger.open(village.folder, keys=village.keys, now_us=lambda: village.now)
    reader = Ledger.open(village.folder, readonly=True)
    assert reader.head() == village.ledger.head()
    with pytest.raises(LedgerError, match="reading only"):
        reader.append("dispatch", {}, id="x", by="vpp")
    reader.close()


def test_create_never_overwrites(village):
    head = village.ledger.head()
    village.ledger.close()
    with pytest.raises(LedgerError, match="here already"):
        Ledger.create(village.folder, log=ORIGIN, keys=village.keys, now_us=lambda: 1, genesis={})
    assert village.reopen().head() == head


def test_no_ledger_is_said(tmp_path):
    with pytest.raises(LedgerUnreadable, match="no ledger here"):
        verify(tmp_path)
    with pytest.raises(LedgerUnreadable):
        Ledger.open(tmp_path)


def test_other_keys_may_not_write(village):
    village.ledger.close()
    with pytest.raises(LedgerError, match="not the log's keys"):
        Ledger.open(village.folder, keys=KeyRing.derived(99), now_us=lambda: village.now)
    village.reopen()


def test_keys_of_the_folder_are_used_and_private(village):
    village.ledger.close()
    path = places.keys(village.folder) / "ring.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(LedgerError, match="readable by others"):
        KeyRing.load(path.parent)
    path.chmod(0o600)
    village.ledger = Ledger.open(village.folder, now_us=lambda: village.now)
    village.slots(1, start=4)
    assert verify(village.folder).ok


def test_random_keys_differ_and_reload(tmp_path):
    ring = KeyRing.random()
    ring.save(tmp_path)
    assert KeyRing.load(tmp_path).signer("a").verifier == ring.signer("a").verifier
    assert KeyRing.random().signer("a").verifier != ring.signer("a").verifier
    with pytest.raises(LedgerError, match="another key"):
        KeyRing.random().save(tmp_path)


def test_a_restored_backup_refuses_to_start(village, tmp_path):
    village.ledger.checkpoint()
    village.ledger.close()
    database = places.database(village.folder)
    shutil.copy(database, tmp_path / "backup")
    village.reopen()
    village.slots(1, start=4)
    village.ledger.close()
    newer = database.read_bytes()
    shutil.copy(tmp_path / "backup", database)
    with pytest.raises(LedgerTruncated, match="was signed"):
        village.reopen()
    findings = verify(village.folder).findings
    assert [f.layer for f in findings] == ["head"]
    assert "the log was cut" in findings[0].what
    database.write_bytes(newer)
    village.reopen()


def test_a_store_that_fails_is_never_retried(village):
    village.ledger._store._db.execute(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(LedgerBroken, match="disk full"):
        village.meter(7)
    with pytest.raises(LedgerBroken, match="close, reopen"):
        village.meter(8)
    village.ledger.close()
    village.reopen()
    assert verify(village.folder).ok


def test_another_root_at_a_signed_size_refuses_to_start(village):
    """An attacker with the disk rebuilds the whole log; only the pin remembers."""
    village.ledger.checkpoint()
    village.ledger.close()
    pin = places.pin(village.folder).read_text()
    shutil.rmtree(village.folder / "logs")
    forged = Ledger.create(
        village.folder,
        log=ORIGIN,
        keys=village.keys,
        now_us=lambda: 1,
        genesis={"currency": "EUR", "operator": "vpp", "grid": "g"},
    )
    for n in range(60):
        body = {"slot": n, "slot_s": 900, "plan": "p", "digest": "ab" * 32}
        forged.append("dispatch", body, id=f"d{n}", by="vpp")
    forged._now_us = None  # closes without signing: the pin stays
    forged.close()
    assert places.pin(village.folder).read_text() == pin
    with pytest.raises(LedgerForked):
        village.reopen()
    assert any(f.layer == "head" for f in verify(village.folder).findings)


def test_a_log_half_created_can_be_created_again(tmp_path):
    folder = tmp_path / "ledger"
    with pytest.raises(EntryRefused):
        Ledger.create(folder, log=ORIGIN, keys=KeyRing.derived(1), now_us=lambda: 5, genesis={"currency": "USD"})
    with pytest.raises(LedgerUnreadable, match="nothing stands in it"):
        Ledger.open(folder, readonly=True)
    facts = {"currency": "USD", "operator": "vpp", "grid": "grid"}
    Ledger.create(folder, log=ORIGIN, keys=KeyRing.derived(1), now_us=lambda: 5, genesis=facts).close()
    assert verify(folder).ok


WRITER = """
import sys
from itertools import pairwise
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import Village
village = Village(Path(sys.argv[1]))
for n in range(10_000):
    village.price(n); village.meter(n); village.settle(n)
    if n % 3 == 0:
        village.ledger.checkpoint()
    sys.stdout.write(f"{village.ledger.head().size}\\n"); sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [1, 4, 9, *(pytest.param(n, marks=pytest.mark.torture) for n in range(10, 207))])
def test_kill_9_loses_nothing_acknowledged(tmp_path, after):
    """After so many acknowledgements, and up to 20 ms later: in the middle of whatever the writer does then."""
    folder = tmp_path / "ledger"
    command = [sys.executable, "-c", WRITER, str(folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(after % 40 + 1)][-1]
        select.select([], [], [], after % 21 / 1000)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    report = verify(folder)
    assert report.ok, report.findings
    assert report.entries >= acknowledged
    with Ledger.open(folder, now_us=lambda: 2 * 10**15) as ledger:
        assert ledger.head().size >= acknowledged
        ledger.append_many([drafts.registration("home-3", "prosumer", meter="m3", devices=[], keys=KeyRing.derived(1))])
    assert verify(folder).ok


def test_readonly_verify_leaves_the_database_as_it_is(village):
    village.ledger.close()
    database = places.database(village.folder)
    before = database.read_bytes()
    assert verify(village.folder).ok
    assert database.read_bytes() == before
    village.reopen()


def test_the_schema_is_strict(village):
    with sqlite3.connect(places.database(village.folder)) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO wallet VALUES ('x', 1.5, 0)")
    db.close()
