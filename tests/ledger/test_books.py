"""One main log and one log per household: what stands where, what each proves of the other, and what is noticed."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import Books, KeyRing, Ledger, across, drafts, places, show
from ledger.auditor import AuditError, audit
from ledger.bill import bill
from ledger.bill_page import page
from ledger.errors import LedgerError, LedgerForked, LedgerTruncated, LedgerUnreadable
from ledger.export import export
from ledger.money import amount_micro
from ledger.prove import bundle
from ledger.start import begun

T0, SLOT_US = 1_473_058_800_000_000, 900_000_000
HOMES = ("home-1", "home-2")
DIGEST = "ab" * 32


def test_a_households_figures_stand_in_its_own_log_and_nowhere_else(site: Any) -> None:
    site.day()
    main = json.dumps(show.entries(site.folder, name="main"))
    for n in range(3):
        (entry,) = show.entries(site.folder, type="settlement", slot_us=T0 + n * SLOT_US, name="party/home-1")
        amount = amount_micro(301 + n, 81_001)
        assert entry["body"]["postings"] == [["home-1", amount, 301 + n], ["clearing", -amount, -301 - n]]
        assert str(amount) not in main
        assert entry["id"] not in main
    assert not show.entries(site.folder, party="home-2", name="party/home-1")
    assert "81001" not in main, "nor is its price in the main log"
    assert across.verify_all(site.folder).ok


def test_money_and_energy_sum_to_zero_over_all_logs_and_clearing_is_empty(site: Any) -> None:
    site.day()
    wallets = site.books.wallets()
    assert wallets["clearing"] == (0, 0)
    assert sum(micro for micro, _ in wallets.values()) == sum(wh for _, wh in wallets.values()) == 0
    assert site.books.onchain_rate(T0, T0 + 3 * SLOT_US) == 1
    main = site.books.main.wallets()
    assert main["clearing"][0] == wallets["home-1"][0] + wallets["home-2"][0]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(-5000, 5000), st.integers(-5000, 5000)), min_size=1, max_size=4), st.data())
def test_any_energies_and_revisions_sum_to_zero(
    site_class: Any, tmp_path_factory: pytest.TempPathFactory, slots: list[tuple[int, int]], data: st.DataObject
) -> None:
    site = site_class(tmp_path_factory.mktemp("books") / "ledger")
    for n, (one, two) in enumerate(slots):
        site.price(n, data.draw(st.integers(-300_000, 300_000)), data.draw(st.integers(-300_000, 300_000)))
        site.settle(n, {"home-1": one, "home-2": two, "vpp": 7, "grid": 11 - one - two})
    again = data.draw(st.integers(0, len(slots) - 1))
    site.settle(again, {"home-2": data.draw(st.integers(-5000, 5000))}, rev=1)
    wallets = site.books.wallets()
    assert wallets["clearing"] == (0, 0)
    assert sum(micro for micro, _ in wallets.values()) == sum(wh for _, wh in wallets.values()) == 0
    site.books.close()
    assert across.verify_all(site.folder).ok


def test_a_late_reading_reverses_and_settles_anew_in_both_logs(site: Any) -> None:
    site.day(1)
    site.settle(0, {"home-2": -1000}, rev=1)
    runs = [one["body"]["run"] for one in show.entries(site.folder, type="settlement", name="party/home-2")]
    assert runs == [0, 1]
    assert [one["body"]["of"] for one in show.entries(site.folder, type="reversal", name="main")] == [
        "clr:1473058800:0",
        "res:1473058800:0",
    ]
    assert not show.entries(site.folder, type="reversal", name="party/home-1"), "nothing changed for others"
    assert across.verify_all(site.folder).ok


def test_prices_after_the_slot_began_are_written_in_no_log(site: Any) -> None:
    before = site.books.head()
    site.now = T0 + 20_000
    moment = site.now
    assert site.books.price(
        "vpp", slot_us=T0, slot_s=900, buy={}, sell={}, grid="grid", import_price=1, export_price=1, plan="p",
        inputs=DIGEST, certificate=DIGEST,
    ) is False  # fmt: skip
    assert (site.books.head(), site.now) == (before, moment)


def test_books_open_again_and_go_on(site: Any) -> None:
    site.day(2)
    site.books.close()
    site.books = Books.open(site.folder, now_us=lambda: site.now)
    assert sorted(site.books.apart) == list(HOMES)
    site.price(2)
    site.settle(2, {"home-1": 1, "home-2": 2, "vpp": 3, "grid": -6})
    site.books.anchor()
    assert across.verify_all(site.folder).ok


def copy_of(site: Any, name: str) -> bytes:
    """The database of a log as it lies on the disk now."""
    database = places.database(site.folder, name)
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return database.read_bytes()


def test_a_partys_log_that_was_replaced_deleted_or_rolled_back_is_noticed(site: Any, tmp_path: Path) -> None:
    site.day(1)
    old = copy_of(site, "party/home-1"), places.pin(site.folder, "party/home-1").read_bytes()
    site.day(3)
    site.books.close()
    database, pin = places.database(site.folder, "party/home-1"), places.pin(site.folder, "party/home-1")
    new = database.read_bytes(), pin.read_bytes()
    database.write_bytes(old[0])
    pin.write_bytes(old[1])
    found = [one for one in across.verify_all(site.folder).findings if one.layer == "across"]
    assert any("log s/party/home-1: has only" in str(one) for one in found), "the main log anchored more"
    database.unlink()
    assert any("home-1: has no log" in str(one) for one in across.verify_all(site.folder).findings)
    database.write_bytes(new[0])
    pin.write_bytes(new[1])
    assert across.verify_all(site.folder).ok


def test_books_refuse_a_partys_log_behind_or_beside_what_the_main_log_anchored(site: Any) -> None:
    """Between two signed heads of its own a household's log is held by the main log's anchors."""
    site.day(1)
    log, database = site.books.apart["home-1"], places.database(site.folder, "party/home-1")
    old = copy_of(site, "party/home-1")
    site.price(1)
    site.settle(1, {"home-1": 301, "home-2": -907, "vpp": 250, "grid": 356}, anchored=True)
    size = log.head().size
    for one in site.books.apart.values():
        one._release()  # killed: no head of theirs is signed any more
    site.books.close()
    database.write_bytes(old)
    with pytest.raises(LedgerTruncated, match=f"but a head of {size} was signed or anchored"):
        Books.open(site.folder, now_us=lambda: site.now)
    with Ledger.open(site.folder, now_us=lambda: site.now, name="party/home-1") as forged:
        forged.append_many([site.metering(5, "home-1", n, rev=n) for n in range(4)])
        forged._release()
    with pytest.raises(LedgerForked, match="another root"):
        Books.open(site.folder, now_us=lambda: site.now)


@pytest.mark.parametrize("name", ["main", "party/home-3"])
@pytest.mark.parametrize("written", [True, False])
def test_a_log_killed_while_it_was_created_says_how_to_mend(
    tmp_path: Path, site: Any, name: str, written: bool
) -> None:
    """With its tables but no entry, or with an empty file: nothing of it was acknowledged, begin again."""
    folder = tmp_path / "other" if name == "main" else site.folder
    site.books.close()
    if written:
        started = begun(folder, f"s/{name}", site.keys, name)
        started.store.close()
        os.close(started.lock)
    else:
        places.database(folder, name).parent.mkdir(parents=True)
        places.database(folder, name).touch()
    with pytest.raises(LedgerUnreadable, match=r"stopped while it was created.*begin the run again with --force"):
        Books.open(folder, now_us=lambda: site.now)
    if written:
        assert "stopped while it was created" in str(across.verify_all(folder).findings[0])
    else:
        with pytest.raises(LedgerUnreadable, match="stopped while it was created"):
            across.verify_all(folder)


def test_totals_that_are_not_the_sums_are_noticed_although_each_log_holds(site: Any) -> None:
    site.price(0)
    site.settle(0, {"home-1": 300, "home-2": -900, "vpp": 250, "grid": 350})
    main = site.books.main
    standing = main.state["posted", "clr:1473058800:0"]
    undo = drafts.reversal("vpp", of="clr:1473058800:0", postings=standing[4], reason="theft")
    body = next(one["body"] for one in main.entries() if one["type"] == "clearing")
    taken = {**body, "run": 1, "micro": body["micro"] - 1}
    taken["postings"] = [["clearing", taken["micro"], -600], ["vpp", -taken["micro"], 0]]
    main.append_many([undo, ("clearing", taken, "clr:1473058800:1", "vpp")])
    site.books.close()
    report = across.verify_all(site.folder)
    assert [one.layer for one in report.findings] == ["across"]
    assert "is not the total" in report.findings[0].what


def test_a_bill_adds_up_by_hand_and_every_line_has_its_proof(site: Any) -> None:
    site.day()
    found = bill(site.folder, "home-2", T0, T0 + 96 * SLOT_US)
    assert [line["registers"] for line in found["lines"]] == [[0, 907, 0, 0]] * 3
    for line in found["lines"]:
        exact = line["wh"] * line["price_micro"]
        assert line["exact_milli_micro"] == exact == -907 * 190_003
        assert abs(line["rounding_milli_micro"]) <= 500
        assert line["micro"] * 1000 == exact + line["rounding_milli_micro"]
        assert line["price_origin"] == "asked for energy taken"
        assert line["price_entry"]["id"] == f"prc:{line['slot'] // 1_000_000}"
        assert len(line["proof"]["leaf"]) == 64
    assert found["total_micro"] == sum(line["micro"] for line in found["lines"])
    assert found["total_micro"] == site.books.apart["home-2"].wallets()["home-2"][0]
    text = page(found)
    assert text.count("<tr>") == 1 + 3 + 1
    assert f"home-2 pays {found['total'].lstrip('-')}" in text
    assert f"written {found['lines'][0]['price_entry']['written']}, from plan p" in text
    assert "<script" not in text
    assert "http" not in text


def test_a_household_proves_its_bill_under_the_main_logs_key(site: Any) -> None:
    site.day()
    key = site.keys.signer("s/main").verifier.vkey
    proof = bundle(site.folder, "home-1", T0, T0 + 96 * SLOT_US)
    assert audit(proof, key)["total_micro"] == site.books.apart["home-1"].wallets()["home-1"][0]
    places, of_main = proof["main"]["committed"].items(), proof["main"]["entries"]
    assert [(place["index"], place["count"]) for _, place in places] == [(0, 2)] * 3
    for broken in (
        {**proof, "main": {**proof["main"], "entries": []}},
        {**proof, "party": "home-2"},
        {name: value for name, value in proof.items() if name != "main"},
        {**proof, "entries": proof["entries"][1:]},
        {**proof, "main": {**proof["main"], "committed": {}}},
        {**proof, "main": {**proof["main"], "committed": {id: {**place, "index": 1} for id, place in places}}},
        {**proof, "main": {**proof["main"], "committed": {id: {**place, "path": [DIGEST]} for id, place in places}}},
        {**proof, "main": {**proof["main"], "entries": [e for e in of_main if '"price"' not in e["entry"]]}},
    ):
        with pytest.raises((AuditError, KeyError)):
            audit(broken, key)
    with pytest.raises(AuditError, match="not signed by the log's key"):
        audit(proof, KeyRing.derived(2).signer("s/main").verifier.vkey)
    stranger = {**proof, "main": {**proof["main"], "entries": [e for e in of_main if e["seq"]]}}
    with pytest.raises(AuditError, match="another main log"):
        audit(stranger, key)


def test_a_bill_is_proved_under_the_main_logs_new_key_after_a_rotation(site: Any) -> None:
    site.day(1)
    name, new = "s/main", site.keys.signer("s/main", 1)
    proof = base64.b64encode(new.private.sign(f"vpptwin/rotate/v1\n{name}\n{name}\n{new.verifier.vkey}".encode()))
    body = {"name": name, "generation": 1, "key": new.verifier.vkey, "proof": proof.decode()}
    site.books.main.append("key.rotate", body, id="rot:main", by=name)
    site.books.anchor()
    found = bundle(site.folder, "home-1", T0, T0 + SLOT_US)
    assert audit(found, new.verifier.vkey)["total_wh"] == 301
    with pytest.raises(AuditError):
        audit(found, site.keys.signer(name).verifier.vkey)
    assert across.verify_all(site.folder).ok


def test_the_operators_bill_says_whose_other_side_a_line_is(site: Any) -> None:
    site.day(1)
    lines = bill(site.folder, "vpp", T0, T0 + SLOT_US)["lines"]
    assert [line["price_origin"].partition(":")[0] for line in lines] == [
        "other side of what grid settled, 356 Wh",
        "other side of 2 parties settled in logs of their own",
        "own meter's energy; 0 Wh that no meter explains, worth 0 millionths",
    ]
    assert sum(line["micro"] for line in lines) == site.books.main.wallets()["vpp"][0]
    with pytest.raises(LedgerError, match="parties: grid, home-1, home-2, vpp; slots from 2016-09-05T07:00:00"):
        bill(site.folder, "nobody", T0, T0 + SLOT_US)


def test_nothing_is_proved_before_the_main_log_anchored_it(site: Any) -> None:
    site.price(0)
    site.settle(0, {"home-1": 300, "home-2": -900, "vpp": 250, "grid": 350})
    with pytest.raises(LedgerError, match=r"no head is signed|not anchored yet"):
        bundle(site.folder, "home-1", T0, T0 + SLOT_US)


def test_exports_hold_all_logs_in_order_of_time(site: Any) -> None:
    site.day()
    lines = list(export(site.folder, "csv"))
    assert {line.split(",")[0] for line in lines[1:]} == {"s/main", "s/party/home-1", "s/party/home-2"}
    times = [line.split(",")[2] for line in lines[1:]]
    assert times == sorted(times)
    assert len(list(export(site.folder, "jsonl"))) == site.books.head().size
    assert len(list(export(site.folder, "csv", name="party/home-1"))) == 1 + 2 * 3
