"""Bids, matches, contracts and their settlement; disputes; reputation."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.chain import Draft
from ledger.errors import EntryRefused
from ledger.rules import actor_message
from ledger.rules.disputes import PPM, reputation_figures, reputations
from ledger.rules.market import accept_message

T0, SLOT_US = 1_473_058_800_000_000, 900_000_000
DIGEST = "ab" * 32


def bid(party: str, side: str, wh: int, limit: int, **extra: Any) -> Draft:
    body = {"party": party, "slot": T0, "side": side, "wh": wh, "limit_micro": limit, **extra}
    return Draft("bid", body, f"bid:{party}:{side}:{wh}", party)


def match(wh: int, price: int, verdict: str = "ok", n: int = 0) -> Draft:
    body = {"slot": T0, "buy": "bid:home-2:buy:900", "sell": "bid:home-1:sell:300", "wh": wh, "price_micro": price,
            "verdict": verdict, "check": DIGEST}  # fmt: skip
    return Draft("match", body, f"mat:{n}", "vpp")


def contract(village: Any, of: Draft, n: int = 0, signer: str = "home-1", **changes: Any) -> Draft:
    terms = {"match": of.id, "slot": T0, "buyer": "home-2", "seller": "home-1", **changes}
    terms |= {name: of.body[name] for name in ("wh", "price_micro") if name not in changes}
    signature = village.keys.signer(signer).private.sign(accept_message(village.ledger.log, terms))
    return Draft("contract", {**terms, "accept": base64.b64encode(signature).decode()}, f"con:{n}", "home-2")


@pytest.fixture
def market(make_village: Any) -> Any:
    """Two bids before slot 0: home-1 sells up to 300 Wh at 0.1, home-2 buys up to 900 Wh at 0.15."""
    village = make_village()
    village.now = T0 - 60_000_000
    village.ledger.append_many([bid("home-1", "sell", 300, 100_000), bid("home-2", "buy", 900, 150_000)])
    return village


def refused(village: Any, draft: Draft, why: str) -> None:
    before = village.ledger.head()
    with pytest.raises(EntryRefused, match=why):
        village.ledger.append_many([draft])
    assert village.ledger.head() == before


def test_a_contract_is_settled_at_its_price_and_the_rest_with_the_operator(market: Any) -> None:
    matched = match(250, 120_000)
    market.ledger.append_many([matched, contract(market, matched)])
    market.slots(1)
    settled = {e["id"]: e["body"] for e in market.ledger.entries() if e["type"] == "settlement"}
    assert settled["stl:con:0:0"]["postings"] == [["home-1", 30_000, 250], ["home-2", -30_000, -250]]
    rest = settled["stl:home-1:1473058800:0"]
    assert (rest["wh"], rest["traded"]) == (300, 250)
    assert rest["postings"] == [["home-1", 50 * 81, 50], ["vpp", -50 * 81, 0]]
    other = settled["stl:home-2:1473058800:0"]
    assert other["postings"][0] == ["home-2", -round(650 * 201.003), -650]
    wallets = market.ledger.wallets()
    assert wallets["home-1"] == (30_000 + 50 * 81, 300)
    assert sum(micro for micro, _ in wallets.values()) == sum(wh for _, wh in wallets.values()) == 0
    assert market.settle(0) == 0
    market.meter(0, {"home-1": 200, "home-2": -899, "vpp": 250, "grid": 449}, rev=1)
    market.settle(0)
    assert market.ledger.wallets()["home-1"] == (30_000 - 50 * 190, 200), "what was not delivered is bought"


@pytest.mark.parametrize(
    ("draft", "why"),
    [
        (bid("home-1", "give", 1, 1), "side is buy or sell"),
        (bid("home-1", "sell", 0, 1), "wh is positive"),
        (bid("home-1", "sell", 1, 5, reserve_micro=6), "worst price"),
        (bid("home-2", "buy", 1, 5, reserve_micro=4), "worst price"),
        (bid("home-1", "sell", 1, 5)._replace(by="home-2"), "signed by the party"),
        (match(301, 120_000), "left are 900 to buy and 300 to sell"),
        (match(0, 120_000), "left are"),
        (match(10, 99_999), "not between the offers"),
        (match(10, 150_001), "not between the offers"),
        (match(10, 120_000, "perhaps"), "a verdict"),
        (match(10, 120_000)._replace(by="home-1"), "written by the operator"),
    ],
)
def test_bids_and_matches_that_do_not_fit_are_refused(market: Any, draft: Draft, why: str) -> None:
    refused(market, draft._replace(id="x"), why)


def test_quantities_run_out_and_a_rejected_match_takes_nothing(market: Any) -> None:
    market.ledger.append_many([match(300, 120_000, "rejected"), match(200, 120_000, n=1)])
    refused(market, match(101, 120_000, n=2), "100 to sell")
    market.ledger.append_many([match(100, 120_000, n=3)])
    refused(market, contract(market, match(300, 120_000, "rejected")), "passed its check")


def test_a_contract_needs_both_signatures_and_the_matchs_terms(market: Any) -> None:
    matched = match(250, 120_000)
    market.ledger.append_many([matched])
    refused(market, contract(market, matched, signer="vpp"), "accepted by the seller")
    refused(market, contract(market, matched, price_micro=110_000), "of these terms")
    refused(market, contract(market, matched)._replace(by="home-1"), "signed by the buyer")
    market.ledger.append_many([contract(market, matched)])
    refused(market, contract(market, matched, 1), "contracted already")
    market.now = T0 + 60_000_000
    refused(market, bid("home-1", "sell", 7, 1), "after the slot began")


def test_a_bid_signed_for_another_log_is_refused_here(market: Any) -> None:
    """Nor is a bid that was signed here taken under another id, as if it were made twice."""
    draft = bid("home-1", "sell", 7, 100_000)
    entry = {"body": draft.body, "by": "home-1", "id": draft.id, "log": "homes/other", "type": "bid"}
    signer = market.keys.signer("home-1")
    refused(market, draft._replace(sig=signer.sign_field(actor_message(entry))), "not a signature")
    here = signer.sign_field(actor_message({**entry, "log": "homes/main"}))
    refused(market, draft._replace(id="bid:again", sig=here), "not a signature")
    market.ledger.append_many([draft._replace(sig=here)])


def test_an_upheld_dispute_must_be_reversed_before_money_moves_elsewhere(make_village: Any) -> None:
    village = make_village().slots(1)
    of = "stl:home-1:1473058800:0"
    ask = Draft("dispute", {"of": of, "reason": "my meter was read twice"}, "dis:0", "home-1")
    refused(village, ask._replace(by="home-2"), "moved the wallet of home-2")
    village.ledger.append_many([ask])
    refused(village, ask._replace(id="dis:1"), "disputed already")
    word = Draft("decision", {"dispute": "dis:0", "upheld": True, "reason": "it was"}, "dec:0", "vpp")
    refused(village, word._replace(by="home-1"), "written by the operator")
    village.ledger.append_many([word])
    refused(village, word._replace(id="dec:1"), "no open dispute")
    village.price(1)
    village.meter(1)
    with pytest.raises(EntryRefused, match="reverse it first"):
        village.settle(1)
    posted = village.ledger.state["posted", of][4]
    undo = {"of": of, "reason": "dispute upheld", "postings": [[a, -m, -w] for a, m, w in posted]}
    village.ledger.append_many([Draft("reversal", undo, f"rev:{of}", "vpp")])
    village.meter(0, {"home-1": 150, "home-2": -900, "vpp": 250, "grid": 500}, rev=1)
    assert village.settle(0)
    assert village.settle(1)
    assert village.ledger.state["settled", "home-1", T0][1:] == (1, True)


def test_a_rejected_dispute_changes_nothing(make_village: Any) -> None:
    village = make_village().slots(1)
    village.ledger.append_many([Draft("dispute", {"of": "stl:home-1:1473058800:0", "reason": "?"}, "dis:0", "home-1")])
    village.ledger.append_many(
        [Draft("decision", {"dispute": "dis:0", "upheld": False, "reason": "no"}, "dec:0", "vpp")]
    )
    assert village.slots(1, start=1)


def test_reputation_is_recomputed_from_contracts_and_meters(market: Any) -> None:
    matched = match(250, 120_000)
    market.ledger.append_many([matched, contract(market, matched)])
    market.slots(1)
    figures = reputation_figures(market.ledger.state, "home-1", T0, T0 + SLOT_US)
    assert figures == {"contracted_wh": 250, "deviation_wh": 50, "a_ppm": 800_000, "r_ppm": 768_000}
    body = {"party": "home-1", "since": T0, "until": T0 + SLOT_US, **figures}
    refused(market, Draft("reputation", {**body, "r_ppm": 800_000}, "rep:0", "vpp"), "r_ppm differ")
    market.ledger.append_many([Draft("reputation", body, "rep:0", "vpp")])
    assert reputations(market.ledger.state) == {"home-1": 0.768}
    refused(market, Draft("reputation", body, "rep:1", "vpp"), "the last evaluation ended")


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(-20_000, 20_000)), min_size=1, max_size=30))
def test_reputation_stays_between_0_and_1(days: list[tuple[int, int]]) -> None:
    state: dict[tuple[Any, ...], Any] = {("meter", "p"): "m"}
    for slot, (traded, metered) in enumerate(days):
        state["trading", "p"] = (slot,)
        state["traded", "p", slot] = traded
        state["metered", "m", slot] = ("", 0, metered, "actual", 900)
        found = reputation_figures(state, "p", slot, slot + 1)
        assert found is not None
        assert 0 <= found["r_ppm"] <= PPM
        assert 0 <= found["a_ppm"] <= PPM
        if abs(metered - traded) * 50 <= traded:
            assert found["a_ppm"] == PPM
        state["reputation", "p"] = (slot + 1, found["a_ppm"], found["r_ppm"])
