"""From plans and readings to entries: prices first, sums zero, every stored reading a leaf of a batch that is in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.plan import Plan
from devices.readings import Quality, Reading
from ledger import Books, across, show
from ledger.keys import KeyRing
from twin.clock import LockstepClock
from twin.feed import Feed
from twin.settlement import NO_PLAN, Settlement
from twin.site import Site

SLOT_US, TICK_US = 900_000_000, 60_000_000
POWER_W = {"meter-1": -1800.0, "meter-2": 2400.0, "meter-vpp": 0.0, "meter-grid": -600.0}
"""Home 1 takes what home 2 gives, the rest goes to the grid: the bus balances."""


class Book:
    """A ledger, its settlement and the made-up meters that report to it."""

    def __init__(self, site: Site, prices: Feed, folder: Path, t0_us: int) -> None:
        self.site, self.clock, self.folder, self.t0_us = site, LockstepClock(t0_us), folder, t0_us
        keys = KeyRing.derived(1)
        genesis = {"currency": "USD", "operator": "vpp", "grid": "grid", "slot_s": 900}
        self.books = Books.create(
            folder, site="two-homes", keys=keys, now_us=self.clock.now_us, genesis=genesis, apart=["home-1", "home-2"]
        )
        self.settlement = Settlement(site, self.books, keys, prices)
        self.settlement.register()

    def readings(self, tick: int, power_w: dict[str, float] | None = None) -> list[Reading]:
        found = []
        for device, p_w in (power_w or POWER_W).items():
            wh = round(abs(p_w) * tick / 60)
            counters = {"e_imp_wh": wh if p_w < 0 else 0, "e_exp_wh": wh if p_w > 0 else 0}
            values = {"p_w": p_w, **counters}
            found.append(Reading(device, self.t0_us + tick * TICK_US, tick + 1, Quality.GOOD, values))
        return found

    def run(self, slots: int, plan: Plan | None = None, late: int | None = None) -> list[list[str]]:
        """Announce, meter and close so many slots; readings of tick `late` come two slots later."""
        findings = []
        for slot in range(slots):
            begin = slot * 15
            for tick in range(begin, begin + 15):
                self.clock.advance_to(self.t0_us + tick * TICK_US)
                if tick != late:
                    self.settlement.collect(self.readings(tick))
                if tick == begin:
                    self.settlement.announce(self.t0_us + slot * SLOT_US, plan)
                    if slot:
                        findings.append(self.settlement.close(self.t0_us + (slot - 1) * SLOT_US))
        end = slots * 15
        self.clock.advance_to(self.t0_us + end * TICK_US)
        self.settlement.collect(self.readings(end) if late is None else [*self.readings(late), *self.readings(end)])
        findings.append(self.settlement.close(self.t0_us + (slots - 1) * SLOT_US))
        self.settlement.finish()
        return findings

    def entries(self, kind: str = "", log: str = "") -> list[dict[str, Any]]:
        """Entries of a log, or of all: the main log's first."""
        return show.entries(self.folder, type=kind, name=log, limit=100_000)

    def verified(self) -> bool:
        report = across.verify_all(self.folder)
        assert report.ok, report.findings
        return report.ok


@pytest.fixture
def book(two_homes: Site, feed: Feed, tmp_path: Path, t0_us: int) -> Iterator[Book]:
    made = Book(two_homes, feed, tmp_path / "ledger", t0_us)
    yield made
    made.books.close()


def test_payments_sum_to_zero_in_every_slot_and_every_entry(book: Book, plan: Plan) -> None:
    book.run(4, plan)
    assert len(book.settlement.payments) == 4
    for payments in book.settlement.payments:
        assert sum(payments.values()) == 0
        assert payments["home-1"] < 0 < payments["home-2"]
    posted = [one["body"]["postings"] for one in book.entries() if "postings" in one["body"]]
    assert len(posted) == 4 * 5, "two homes, their total, the grid and the residual in every slot"
    assert all(sum(micro for _, micro, _ in legs) == 0 for legs in posted)


def test_each_homes_payment_is_its_metered_energy_at_the_plans_price(book: Book, plan: Plan) -> None:
    book.run(2, plan)
    for slot, payments in enumerate(book.settlement.payments):
        buy, sell = plan.buy_per_kwh["home-1"][slot], plan.sell_per_kwh["home-2"][slot]
        assert payments["home-1"] == round(-450 * buy * 1000)
        assert payments["home-2"] == round(600 * sell * 1000)
        assert book.settlement.book[slot]["meter-1"].net_wh == -450


def test_prices_are_written_before_anything_of_their_slot_is_metered_or_settled(book: Book, plan: Plan) -> None:
    book.run(3, plan)
    for log, last in (("main", "residual"), ("party/home-1", "settlement"), ("party/home-2", "settlement")):
        seen: dict[int, dict[str, int]] = defaultdict(dict)
        for one in book.entries(log=log):
            slot_us = one["body"].get("slot", one["body"].get("start"))
            seen[slot_us].setdefault(one["type"], one["seq"])
        for slot in range(3):
            order = seen[book.t0_us + slot * SLOT_US]
            assert order["price"] < order["metering"] < order["settlement"] <= order[last]
    prices = book.entries("price")
    assert [one["body"]["plan"] for one in prices] == [plan.id] * 3 * 3
    assert all(one["ts"] <= one["body"]["slot"] + 10_000 for one in prices)


def test_without_a_plan_parties_trade_at_the_tariff(book: Book, feed: Feed) -> None:
    book.run(1)
    import_, export = (round(price * 1e6) for price in feed.at(book.t0_us))
    prices = {one["log"]: one["body"] for one in book.entries("price")}
    assert {body["plan"] for body in prices.values()} == {NO_PLAN}
    main = prices.pop("two-homes/main")
    assert (main["buy"], main["sell"]) == ({"grid": export}, {"grid": import_}), "a household's price is its own affair"
    assert [(body["buy"], body["sell"]) for body in prices.values()] == [
        ({home: import_}, {home: export}) for home in ("home-1", "home-2")
    ]
    assert book.settlement.payments[0]["home-2"] == round(600 * export / 1000)
    assert [one["body"]["plan"] for one in book.entries("dispatch")] == [NO_PLAN]


def test_an_honest_ledger_verifies_and_has_no_residual(book: Book, plan: Plan) -> None:
    assert book.run(3, plan) == [[], [], []]
    assert all(payments.get("residual", 0) == 0 for payments in book.settlement.payments)
    assert book.verified()
    registered = [one["body"]["wallet"] for one in book.entries("registration", "main")]
    assert registered == ["vpp", "grid", "home-1", "home-2"]


def test_late_readings_become_a_revision_that_the_ledger_accepts(book: Book, plan: Plan) -> None:
    findings = book.run(3, plan, late=5)
    anew = f"slot {book.t0_us // 1_000_000} settled anew: readings came late"
    assert findings == [[], [], [anew]], "one missing reading is no estimate, but the batch has another root"
    assert book.settlement.payments[0] == book.settlement.payments[1], "the same energies, the same amounts"
    revised = [one["body"] for one in book.entries("metering") if one["body"]["rev"]]
    assert {(body["device"], body["start"], body["rev"], body["count"]) for body in revised} == {
        (device, book.t0_us, 1, 15) for device in POWER_W
    }
    assert book.verified()


def test_readings_after_the_last_slot_are_leaves_too(book: Book) -> None:
    book.run(1)
    rest = [one["body"] for one in book.entries("metering") if one["body"]["start"] == book.t0_us + SLOT_US]
    assert {(body["device"], body["count"], body["wh"]) for body in rest} == {(device, 1, 0) for device in POWER_W}
    assert book.verified()


def test_a_silent_meter_is_said_to_be_estimated(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    book.settlement.announce(book.t0_us, None)
    silent = [one for tick in range(16) for one in book.readings(tick) if one.device != "meter-2" or tick < 8]
    book.settlement.collect(silent)
    book.clock.advance_to(book.t0_us + SLOT_US)
    findings = book.settlement.close(book.t0_us)
    assert findings[0] == "energy estimated for meter-2"
    assert "unexplained energy" in findings[1]
    assert sum(book.settlement.payments[0].values()) == 0
    book.settlement.finish()
    assert book.verified()


def test_readings_after_a_silence_reverse_the_estimate_and_settle_it_anew(book: Book, plan: Plan) -> None:
    late = [one for tick in range(8, 16) for one in book.readings(tick) if one.device == "meter-2"]
    for slot in range(2):
        book.clock.advance_to(book.t0_us + slot * SLOT_US)
        book.settlement.announce(book.t0_us + slot * SLOT_US, plan)
        for tick in range(slot * 15 + (slot > 0), (slot + 1) * 15 + 1):
            book.settlement.collect([one for one in book.readings(tick) if one not in late])
        book.clock.advance_to(book.t0_us + (slot + 1) * SLOT_US)
        if slot == 0:
            assert "energy estimated for meter-2" in book.settlement.close(book.t0_us)
    estimated = book.settlement.payments[0]["home-2"]
    book.settlement.collect(late)
    findings = book.settlement.close(book.t0_us + SLOT_US)
    assert findings == [f"slot {book.t0_us // 1_000_000} settled anew: readings came late"]
    book.settlement.finish()
    assert book.verified()
    runs = [one["body"] for one in book.entries("settlement", "party/home-2")]
    assert [(body["run"], body["slot"] == book.t0_us) for body in runs].count((1, True)) == 1
    for name in ("party/home-2", "main"):
        assert book.entries("reversal", name), "nothing is edited: the estimate stands, reversed"
    assert [one["body"]["run"] for one in book.entries("clearing", "main") if one["body"]["slot"] == book.t0_us] == [
        0,
        1,
    ]
    sell = plan.sell_per_kwh["home-2"][0]
    assert book.settlement.payments[0]["home-2"] == round(600 * sell * 1000) != estimated
    assert sum(book.settlement.payments[0].values()) == 0
    assert book.settlement.book[0]["meter-2"].rev == 1


def test_heads_are_anchored_both_ways_at_every_close(book: Book) -> None:
    book.run(6)
    ups = [one["body"] for one in book.entries("anchor", "main")]
    assert {body["direction"] for body in ups} == {"up"}
    assert len(ups) == 2 * (1 + 6 + 1), "after registration, at each close, with the last readings"
    downs = book.entries("anchor", "party/home-1")
    assert {one["body"]["direction"] for one in downs} == {"down"}
    between = "".join(one["type"][0] for one in book.entries(log="party/home-1")).split("s")
    assert len(between) == 6 + 1
    assert all("a" in kinds for kinds in between), "from one settlement to the next the main log's head comes in"
    assert book.verified()


def test_the_clearing_account_is_empty_and_money_sums_to_zero_over_all_logs(book: Book, plan: Plan) -> None:
    book.run(3, plan)
    wallets = book.books.wallets()
    assert wallets["clearing"] == (0, 0)
    assert sum(micro for micro, _ in wallets.values()) == 0
    assert sum(wh for _, wh in wallets.values()) == 0
    assert book.books.onchain_rate(book.t0_us, book.t0_us + 3 * SLOT_US) == 1


def test_every_stored_reading_of_a_run_is_a_leaf_of_a_metering_batch(
    short_run: Path, batches: Callable[[Path], tuple[dict[object, object], dict[object, object]]]
) -> None:
    said, stored = batches(short_run)
    assert len(stored) == 8 * 9, "eight devices, eight slots and the readings at the end"
    assert said == stored
