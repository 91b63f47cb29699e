"""Contracts and shares of the residual across the main log and the parties' own logs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import across, drafts, settle_slot, show
from ledger.auditor import AuditError, audit
from ledger.bill import bill
from ledger.chain import Draft
from ledger.errors import EntryRefused
from ledger.prove import bundle
from ledger.rules.disputes import reputation_figures
from ledger.rules.market import accept_message

T0, SLOT_US = 1_473_058_800_000_000, 900_000_000
DIGEST = "ab" * 32
DAY_US = 96 * SLOT_US
ENERGIES = {"home-1": 300, "home-2": -900, "vpp": 250, "grid": 351}


def trade(site: Any, seller: str, buyer: str, wh: int, price: int, n: int = 0, name: str = "") -> str:
    """A contract of the main log for slot n, with the bids and the match it comes from; returns its id."""
    slot, name = T0 + n * SLOT_US, name or f"{seller}:{buyer}:{n}"
    site.now = max(site.now, slot - SLOT_US // 2)
    sides = {"sell": seller, "buy": buyer}
    bids = [
        Draft("bid", {"party": who, "slot": slot, "side": side, "wh": wh, "limit_micro": price}, f"{side}:{name}", who)
        for side, who in sides.items()
    ]
    matched = {"slot": slot, "buy": f"buy:{name}", "sell": f"sell:{name}", "wh": wh, "price_micro": price,
               "verdict": "ok", "check": DIGEST}  # fmt: skip
    terms = {"match": f"mat:{name}", "slot": slot, "buyer": buyer, "seller": seller, "wh": wh, "price_micro": price}
    signature = site.keys.signer(seller).private.sign(accept_message("s/main", terms))
    accepted = {**terms, "accept": base64.b64encode(signature).decode()}
    contract = Draft("contract", accepted, f"con:{name}", buyer)
    site.books.main.append_many([*bids, Draft("match", matched, f"mat:{name}", "vpp"), contract])
    return contract.id


def balanced(site: Any) -> bool:
    """Money and energy sum to zero over all logs, `clearing` is empty, and the logs agree."""
    wallets = site.books.wallets()
    assert wallets["clearing"] == (0, 0)
    assert sum(micro for micro, _ in wallets.values()) == 0
    assert sum(wh for _, wh in wallets.values()) == 0
    report = across.verify_all(site.folder)
    assert report.ok, report.findings
    return report.ok


def test_households_with_logs_of_their_own_trade_by_contract(site: Any) -> None:
    identity = trade(site, "home-1", "home-2", 200, 120_001)
    site.price(0)
    site.settle(0, ENERGIES)
    one, two = (site.books.apart[home].wallets() for home in ("home-1", "home-2"))
    assert one["home-1"] == (24_000 + 8_100, 300), "200 Wh at 0.120001, the rest of 100 Wh at 0.081001, each rounded"
    assert two["home-2"] == (-24_000 - 133_002, -900)
    assert not show.entries(site.folder, type="settlement", party="home-1", name="main")
    (side,) = (e["body"] for e in show.entries(site.folder, type="settlement", name="party/home-2")
               if "contract" in e["body"])  # fmt: skip
    (entry,) = show.entries(site.folder, type="contract", name="main")
    assert side["leaf"] == site.books.main.find(entry["id"]).leaf
    assert (side["contract"], side["wh"]) == (identity, -200)
    assert balanced(site)
    assert site.books.settle([T0]) == [], "settled once"


def test_a_contract_with_the_operator_stands_half_in_the_main_log(site: Any) -> None:
    trade(site, "vpp", "home-2", 250, 150_000)
    trade(site, "home-1", "vpp", 100, 90_000)
    site.price(0)
    site.settle(0, ENERGIES)
    assert site.books.apart["home-2"].wallets()["home-2"][0] == -37_500 - 123_502
    assert site.books.wallets()["vpp"][1] == 250
    assert balanced(site)


def test_late_readings_leave_the_contract_and_settle_the_rest_anew(site: Any) -> None:
    trade(site, "home-1", "home-2", 200, 120_000)
    site.price(0)
    site.settle(0, ENERGIES)
    site.settle(0, {"home-2": -1000}, rev=1)
    kinds = [(e["type"], "contract" in e["body"]) for e in show.entries(site.folder, name="party/home-2")]
    assert kinds.count(("settlement", True)) == 1
    assert kinds.count(("settlement", False)) == 2
    assert balanced(site)


def test_a_contract_learned_late_settles_its_rest_anew(site: Any) -> None:
    """The household's log was settled by itself first: the next settlement of the books takes the contract over."""
    trade(site, "home-1", "home-2", 200, 120_000)
    site.price(0)
    log, site.now = site.books.apart["home-1"], T0 + SLOT_US
    log.append_many([site.metering(0, "home-1", 300)])
    log.append_many(settle_slot(log.state, T0))
    assert log.wallets()["home-1"] == (24_300, 300)
    with pytest.raises(EntryRefused, match="settled already"):
        log.append_many([Draft("settlement", side("con:x", 100), "stl:con:x:0", "vpp")])
    site.settle(0, {party: wh for party, wh in ENERGIES.items() if party != "home-1"})
    assert log.wallets()["home-1"] == (24_000 + 8_100, 300)
    assert balanced(site)


def side(contract: str, wh: int) -> dict[str, Any]:
    """Home 1's side of a contract at 0.1 per kWh, as the operator may claim it."""
    return {"contract": contract, "leaf": DIGEST, "slot": T0, "run": 0, "price_micro": 100_000, "wh": wh,
            "postings": [["home-1", 100 * wh, wh], ["clearing", -100 * wh, -wh]]}  # fmt: skip


def test_a_contract_that_the_main_log_does_not_hold_is_noticed_across(site: Any) -> None:
    site.price(0)
    site.books.apart["home-1"].append_many([Draft("settlement", side("con:x", -100), "stl:con:x:0", "vpp")])
    site.settle(0, ENERGIES)
    report = across.verify_all(site.folder)
    assert [one.what for one in report.findings] == ["home-1 and the main log disagree about the contract con:x"]


@pytest.mark.parametrize(
    "changes", [{"leaf": "x"}, {"wh": True}, {"postings": [["home-1", 1, 100], ["clearing", -1, -100]]}, {"run": 1}]
)
def test_a_side_of_a_contract_that_does_not_follow_is_refused(site: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(EntryRefused):
        site.books.apart["home-1"].append_many(
            [Draft("settlement", {**side("con:x", 100), **changes}, "stl:con:x:0", "vpp")]
        )


def test_bids_stand_in_the_main_log_alone(site: Any) -> None:
    body = {"party": "home-1", "slot": T0, "side": "sell", "wh": 1, "limit_micro": 1}
    with pytest.raises(EntryRefused, match="stand in the main log"):
        site.books.apart["home-1"].append_many([("bid", body, "bid:0", "home-1")])


def test_a_bill_with_a_contract_is_proved_from_the_main_logs_entry(site: Any) -> None:
    identity = trade(site, "home-1", "home-2", 200, 120_001)
    site.price(0)
    site.settle(0, ENERGIES)
    site.books.anchor()
    key = site.keys.signer("s/main").verifier.vkey
    proof = bundle(site.folder, "home-2", T0, T0 + DAY_US)
    assert audit(proof, key)["total_micro"] == site.books.apart["home-2"].wallets()["home-2"][0]
    lines = bill(site.folder, "home-2", T0, T0 + DAY_US)["lines"]
    assert [line["wh"] for line in lines] == [-200, -700]
    assert lines[0]["price_origin"] == f"contract {identity}"
    without = [item for item in proof["main"]["entries"] if identity not in item["entry"]]
    with pytest.raises(AuditError, match="main log"):
        audit({**proof, "main": {**proof["main"], "entries": without}}, key)


def test_a_reputation_is_evaluated_where_the_party_is_metered(site: Any) -> None:
    trade(site, "home-1", "home-2", 250, 120_000)
    site.price(0)
    site.settle(0, ENERGIES)
    own = site.books.apart["home-1"]
    figures = reputation_figures(own.state, "home-1", T0, T0 + SLOT_US)
    assert figures is not None
    assert (figures["contracted_wh"], figures["deviation_wh"]) == (250, 50)
    body = {"party": "home-1", "since": T0, "until": T0 + SLOT_US, **figures}
    with pytest.raises(EntryRefused, match="evaluate it there"):
        site.books.main.append_many([Draft("reputation", body, "rep:0", "vpp")])
    own.append_many([Draft("reputation", body, "rep:0", "vpp")])
    assert site.books.reputations() == {"home-1": figures["r_ppm"] / 1_000_000}


def test_the_residual_is_borne_by_all_parties_over_all_logs(make_site: Callable[..., Any]) -> None:
    site = make_site(residual_by="pro_rata")
    site.price(0)
    site.settle(0, {"home-1": 300, "home-2": -900, "vpp": 250, "grid": 370})
    found = {name: show.entries(site.folder, type="residual", name=name)[0]["body"]
             for name in ("main", "party/home-1", "party/home-2")}  # fmt: skip
    assert found["main"]["wh"] == 20
    value = found["main"]["value_micro"]
    assert found["main"]["postings"][0][1] == value == 4200
    parts = [-found[f"party/home-{n}"]["postings"][0][1] for n in (1, 2)]
    assert parts == [1050, 3150], "in proportion to 300 and 900 Wh"
    assert balanced(site)


def test_a_late_reading_moves_the_shares(make_site: Callable[..., Any]) -> None:
    site = make_site(residual_by="pro_rata")
    site.price(0)
    site.settle(0, {"home-1": 300, "home-2": -900, "vpp": 250, "grid": 370})
    site.settle(0, {"home-2": -910}, rev=1)
    assert site.books.apart["home-1"].state["residual", "residual", T0][1:] == (1, True)
    assert balanced(site)


def test_a_share_that_is_not_a_households_part_is_refused_or_noticed(make_site: Callable[..., Any]) -> None:
    site = make_site(residual_by="pro_rata")
    site.price(0)
    site.settle(0, {"home-1": 300, "home-2": -901, "vpp": 250, "grid": 370})
    log = site.books.apart["home-1"]
    (entry,) = show.entries(site.folder, type="residual", name="party/home-1")
    undo = drafts.reversal("vpp", of=entry["id"], postings=entry["body"]["postings"], reason="theft")
    log.append_many([undo])
    part = -entry["body"]["postings"][0][1]
    for more in (-2, 2, 10_000):
        body = {**entry["body"], "run": 1, "postings": [["home-1", -part - more, 0], ["clearing", part + more, 0]]}
        with pytest.raises(EntryRefused, match="is not the part"):
            log.append_many([Draft("residual", body, "res:1:1", "vpp")])
    other = next(more for more in (-1, 1) if _fits(entry["body"], part + more))
    body = {**entry["body"], "run": 1, "postings": [["home-1", -part - other, 0], ["clearing", part + other, 0]]}
    log.append_many([Draft("residual", body, "res:1:1", "vpp")])
    report = across.verify_all(site.folder)
    assert [one.what for one in report.findings] == [
        "home-1 does not bear its share of the residual that the main log says"
    ]


def _fits(body: dict[str, Any], part: int) -> bool:
    low = body["value_micro"] * body["wh"] // body["flow_wh"]
    return low <= part <= low + 1


_HOMES = st.sampled_from(["home-1", "home-2", "vpp", "grid"])


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(["operator", "pro_rata"]),
    st.lists(st.tuples(_HOMES, _HOMES, st.integers(1, 3000), st.integers(0, 300_000)), max_size=4),
    st.tuples(*[st.integers(-5000, 5000)] * 4),
    st.integers(-5000, 5000),
)
def test_any_contracts_energies_and_revisions_sum_to_zero(
    site_class: Any,
    tmp_path_factory: pytest.TempPathFactory,
    residual_by: str,
    contracts: list[tuple[str, str, int, int]],
    energies: tuple[int, ...],
    later: int,
) -> None:
    site = site_class(tmp_path_factory.mktemp("apart") / "ledger", residual_by=residual_by)
    for n, (seller, buyer, wh, price) in enumerate(contracts):
        if seller != buyer:
            trade(site, seller, buyer, wh, price, name=str(n))
    site.price(0)
    site.settle(0, dict(zip(("home-1", "home-2", "vpp", "grid"), energies, strict=True)))
    site.settle(0, {"home-2": later}, rev=1)
    assert balanced(site)
    site.books.close()
