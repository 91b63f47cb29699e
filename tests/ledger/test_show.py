"""What people and programs see of a ledger."""

from __future__ import annotations

import json

import pytest

from ledger import places, show
from ledger.errors import LedgerUnreadable
from ledger.verify import verify


def test_the_overview_counts_everything(village):
    village.ledger.checkpoint()
    facts = show.overview(village.folder.parent, last=3)
    assert facts["entries"] == facts["signed_size"] == village.ledger.head().size
    assert facts["types"]["settlement"] == 12
    assert sum(facts["types"].values()) == facts["entries"]
    assert {name: (w["micro"], w["wh"]) for name, w in facts["wallets"].items()} == village.ledger.wallets()
    assert [entry["seq"] for entry in facts["last"]] == list(range(facts["entries"] - 3, facts["entries"]))
    assert facts["residual"] == {"slots": 4, "alarms": 0, "largest_ppm": 1_000_000 // 898}
    text = show.text(json.loads(json.dumps(facts)))
    assert "test keys: proves integrity, not identity" in text
    assert "home-2" in text


def test_filters_find_what_they_name(village):
    slot = 1_473_058_800_000_000
    assert len(show.entries(village.folder, type="settlement", party="home-1")) == 4
    assert [e["id"] for e in show.entries(village.folder, id="prc:1473058800")] == ["prc:1473058800"]
    assert {e["type"] for e in show.entries(village.folder, slot_us=slot)} == {
        "price",
        "metering",
        "settlement",
        "residual",
    }
    assert len(show.entries(village.folder, limit=5)) == 5


def test_a_report_says_ok_or_each_finding(village):
    assert show.report_text(verify(village.folder)).startswith("ok: ")
    village.ledger._store._db.execute("UPDATE wallet SET micro = 0 WHERE account = 'grid'")
    result = verify(village.folder)
    assert show.report(result)["findings"][0]["where"] == "wallet grid"
    assert "wallet grid" in show.report_text(result)


def test_a_broken_database_is_said_without_a_traceback(village):
    village.ledger.close()
    places.database(village.folder).write_bytes(b"not a database" * 1000)
    with pytest.raises(LedgerUnreadable, match="run `ledger verify`"):
        show.overview(village.folder)
    findings = verify(village.folder).findings
    assert [f.layer for f in findings] == ["store"]
    village.ledger._broken = "test"
