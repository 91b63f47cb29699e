"""What the rules refuse, and what they compute."""

from __future__ import annotations

import base64
import copy
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import Draft, KeyRing, canon, drafts, rules, settle_slot, tlog
from ledger.chain import Chain
from ledger.drafts import GENESIS_DEFAULTS
from ledger.errors import EntryRefused, LedgerError
from ledger.note import Checkpoint
from ledger.verify import verify

T0, SLOT_US = 1_473_058_800_000_000, 900_000_000
DIGEST = "ab" * 32


def refused(village: Any, draft: Draft, match: str) -> None:
    """Assert that the draft is refused for this reason, and that nothing changed."""
    before = village.ledger.head()
    with pytest.raises(EntryRefused, match=match):
        village.ledger.append_many([draft])
    assert village.ledger.head() == before


def changed(draft: Draft, **fields: Any) -> Draft:
    body = copy.deepcopy(dict(draft.body))
    body.update(fields)
    return draft._replace(body=body, id=draft.id + ":x")


@pytest.fixture
def metered(make_village):
    """A village with one slot priced and metered, not settled."""
    village = make_village()
    village.price(0)
    village.meter(0)
    return village


def test_amounts_follow_from_price_and_metering(metered):
    home_1, home_2 = (d for d in settle_slot(metered.ledger.state, T0) if d.id.startswith("stl:home"))
    assert home_1.body["postings"] == [["home-1", 24_300, 300], ["vpp", -24_300, 0]]  # 0.3 kWh at 0.081
    assert home_2.body["postings"] == [
        ["home-2", -180_903, -900],
        ["vpp", 180_903, 0],
    ]  # 0.9 kWh at 0.201003, rounded once
    metered.settle(0)
    assert metered.ledger.wallets()["grid"] == (351 * 210, 351)
    assert metered.settle(0) == 0, "settling twice makes nothing"


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"postings": [["home-1", 24_301, 300], ["vpp", -24_301, 0]]}, "recomputed"),
        ({"postings": [["home-1", 24_300, 300], ["vpp", -24_299, 0]]}, "recomputed"),
        ({"postings": [["home-1", 24_300, 300], ["thief", -24_300, 0]]}, "recomputed"),
        ({"price_micro": 82_000}, "recomputed"),
        ({"wh": 301}, "is not what"),
        ({"quality": "actual"}, "is not what"),
        ({"metering": "mtr:other"}, "the latest"),
        ({"price": "prc:none"}, "no price entry"),
        ({"run": 1}, "run 1 after run -1"),
        ({"run": True}, "not int"),
        ({"wh": True}, "not int"),
        ({"party": "home-9"}, "no registered settlement meter"),
        ({"party": "vpp"}, "vpp is not settled here"),
        ({"extra": 1}, "unknown"),
    ],
)
def test_a_settlement_that_does_not_follow_is_refused(metered, fields, match):
    good = settle_slot(metered.ledger.state, T0)[1]
    assert good.body["party"] == "home-1"
    refused(metered, changed(good, **fields), match)


def test_nothing_is_settled_twice(village):
    body = dict(next(e for e in village.ledger.entries() if e["type"] == "settlement")["body"])
    refused(village, Draft("settlement", body, "again", "vpp"), "standing")
    refused(village, Draft("settlement", {**body, "run": 1}, "again", "vpp"), "reverse it first")


def test_no_settlement_without_a_price_written_before(make_village):
    village = make_village()
    village.meter(0)
    assert settle_slot(village.ledger.state, T0) == []
    village.now = T0 + 2_000_000
    with pytest.raises(EntryRefused, match="after the slot began"):
        village.price(0)


def test_a_price_stands_once_written(metered):
    metered.now = T0 - 1
    price = next(e for e in metered.ledger.entries() if e["type"] == "price")
    again = {**price["body"], "slot": T0 + 9 * SLOT_US}
    metered.ledger.append("price", again, id="prc:9", by="vpp")
    refused(metered, Draft("price", again, "prc:9b", "vpp"), "a price once written stands")
    with pytest.raises(LedgerError, match="canonical form"):
        metered.ledger.append("price", {**again, "buy": {"home-1": 0.19}}, id="prc:f", by="vpp")
    refused(metered, Draft("price", {**again, "buy": {"home-1": True}}, "prc:b", "vpp"), "not an integer")
    refused(metered, Draft("price", again, "prc:h", "home-1"), "written by the operator")


def test_metering_needs_registration_signature_and_order(metered):
    meter = next(e for e in metered.ledger.entries() if e["type"] == "metering" and e["by"] == "home-1")
    body = {**meter["body"], "start": T0 + SLOT_US}
    refused(metered, Draft("metering", {**body, "device": "stranger"}, "m", "home-1"), "registered to no one")
    refused(metered, Draft("metering", {**body, "device": "meter-home-2"}, "m", "home-1"), "registered to home-2")
    refused(metered, Draft("metering", {**body, "rev": 1}, "m", "home-1"), "revision 1")
    refused(metered, Draft("metering", {**body, "wh": 299}, "m", "home-1"), "registers")
    refused(metered, Draft("metering", {**body, "start": T0 + 5}, "m", "home-1"), "multiple of the period")
    refused(metered, Draft("metering", {**body, "quality": "good"}, "m", "home-1"), "actual or estimated")
    forged = KeyRing.derived(99).signer("home-1")
    entry = {"body": body, "by": "home-1", "id": "m", "log": metered.ledger.log, "type": "metering"}
    sig = forged.sign_field(rules.actor_message(entry))
    refused(metered, Draft("metering", body, "m", "home-1", sig), "not a signature of home-1")


def test_an_entry_signed_for_another_log_is_refused_here(metered):
    signer = metered.keys.signer("home-1")
    meter = next(e for e in metered.ledger.entries() if e["type"] == "metering" and e["by"] == "home-1")
    body = {**meter["body"], "start": T0 + SLOT_US}
    entry = {"body": body, "by": "home-1", "id": "m", "log": "homes/other", "type": "metering"}
    refused(
        metered,
        Draft("metering", body, "m", "home-1", signer.sign_field(rules.actor_message(entry))),
        "not a signature",
    )


def test_one_meter_has_one_wallet_and_moves_with_both_signatures(metered):
    keys, ledger = metered.keys, metered.ledger
    newcomer = drafts.registration("home-3", "prosumer", meter="meter-home-1", devices=[], keys=keys)
    refused(metered, newcomer, "release signature of home-1")
    message = rules.release_message(ledger.log, "home-1", "home-3", ["meter-home-1"])
    release = base64.b64encode(keys.signer("home-1").private.sign(message)).decode()
    ledger.append_many([newcomer._replace(body={**newcomer.body, "release": release})])
    assert ledger.state["device", "meter-home-1"] == "home-3"
    assert ledger.state["meter", "home-1"] == ""


def test_late_readings_reverse_and_settle_anew(village):
    wallets = village.ledger.wallets()
    village.meter(1, {"home-1": 400, "home-2": -899, "vpp": 250, "grid": 250}, rev=1)
    assert village.settle(1) == 8, "both homes, grid and residual, each reversed and settled anew"
    assert [e["type"] for e in village.ledger.entries()].count("reversal") == 4
    assert village.ledger.wallets() != wallets
    assert sum(micro for micro, _ in village.ledger.wallets().values()) == 0
    assert sum(wh for _, wh in village.ledger.wallets().values()) == 0
    assert village.settle(1) == 0
    village.ledger.checkpoint()
    assert verify(village.folder).ok


def test_a_reversal_is_exact_and_once(village):
    target = next(e for e in village.ledger.entries() if e["type"] == "settlement")
    good = drafts.reversal("vpp", of=target["id"], postings=target["body"]["postings"], reason="test")
    wrong = [[account, micro + 1 - 2 * n, wh] for n, (account, micro, wh) in enumerate(good.body["postings"])]
    refused(village, changed(good, postings=wrong), "exact negation")
    village.ledger.append_many([good])
    refused(village, changed(good), "no standing")
    refused(village, changed(good, of="genesis"), "no standing")


def test_the_residual_is_measured_shared_and_alarmed(make_village):
    village = make_village(residual_by="pro_rata")
    village.price(0)
    village.meter(0, {"home-1": 1000, "home-2": -900, "vpp": 0, "grid": 0})
    village.settle(0)
    residual = next(e["body"] for e in village.ledger.entries() if e["type"] == "residual")
    assert (residual["wh"], residual["flow_wh"], residual["share_ppm"], residual["alarm"]) == (100, 1000, 100_000, True)
    assert residual["value_micro"] == 21_000
    assert residual["postings"][:2] == [["vpp", 21_000, 0], ["residual", 0, -100]]
    assert residual["postings"][2:] == [["home-1", -11_053, 0], ["home-2", -9_947, 0]]
    assert sum(wh for _, wh in village.ledger.wallets().values()) == 0


def test_rounding_of_meters_is_no_alarm(make_village):
    village = make_village()
    village.price(0)
    village.meter(0, {"home-1": 3, "home-2": -1, "vpp": 0, "grid": 0})
    village.settle(0)
    residual = next(e["body"] for e in village.ledger.entries() if e["type"] == "residual")
    assert residual["share_ppm"] > 30_000
    assert residual["alarm"] is False


def test_a_slot_without_metering_is_said(metered):
    metered.price(1)
    with pytest.raises(LedgerError, match="no metering of meter-grid"):
        settle_slot(metered.ledger.state, T0 + SLOT_US)


def test_a_slot_is_dispatched_once(metered):
    good = drafts.dispatch("vpp", slot_us=T0, slot_s=900, plan="plan:1", digest=DIGEST)
    metered.ledger.append_many([good])
    refused(metered, changed(good, digest="cd" * 32), "another digest")
    refused(metered, good._replace(id="x", by="home-1"), "by the operator")


def test_anchors_grow_and_extend(metered):
    leaves = [tlog.leaf_hash(bytes([n])) for n in range(9)]
    node = tlog.reader(leaves)

    def anchored(size: int, proof: list[bytes], root: bytes | None = None) -> Draft:
        head = Checkpoint("homes/agg/1", size, root or tlog.root(leaves[:size]))
        facts = {"origin": head.origin, "size": size, "root": head.root.hex(), "note": head.digest}
        return drafts.anchor("vpp", direction="up", proof=[h.hex() for h in proof], **facts)

    metered.ledger.append_many([anchored(4, [])])
    refused(metered, anchored(7, [])._replace(id="a"), "does not extend")
    refused(metered, anchored(7, tlog.consistency(node, 4, 7), root=bytes(32))._replace(id="a"), "does not extend")
    refused(metered, anchored(3, [])._replace(id="a"), "must grow")
    refused(metered, changed(anchored(7, []), proof=["ab"]), "32 bytes")
    metered.ledger.append_many([anchored(7, tlog.consistency(node, 4, 7))])


def test_keys_rotate_with_both_keys(village):
    ledger, keys, log = village.ledger, village.keys, village.ledger.log
    ledger.checkpoint()
    for name in ("home-1", log):
        new = keys.signer(name, 1)
        key = new.verifier.vkey if name == log else base64.b64encode(new.verifier.public).decode()
        proof = base64.b64encode(new.private.sign(f"vpptwin/rotate/v1\n{log}\n{name}\n{key}".encode())).decode()
        body = {"name": name, "generation": 1, "key": key, "proof": proof}
        refused(village, Draft("key.rotate", {**body, "proof": ""}, f"rot:{name}", name), "proof of holding")
        ledger.append("key.rotate", body, id=f"rot:{name}", by=name)
    village.slots(1, start=4)
    ledger.checkpoint()
    assert verify(village.folder).ok
    ledger.close()
    assert village.reopen().state["generation", log] == 1


def test_unknown_types_second_genesis_and_bad_words_are_refused(metered):
    refused(metered, Draft("bribe", {}, "x", "vpp"), "no entry type")
    refused(metered, Draft("genesis", dict(metered.ledger.state[("genesis",)]), "g2", "homes/main"), "first entry")
    refused(metered, Draft("dispatch", {}, "two words", "vpp"), "without space")
    refused(metered, Draft("settlement", {"party": "x"}, "s", "vpp"), "lacks")


def test_rules_name_themselves(village):
    assert rules.ID.startswith("r1:")
    assert {entry["rules"] for entry in village.ledger.entries()} == {rules.ID}


def test_apply_is_pure_and_equals_what_the_chain_does(village):
    state: dict[Any, Any] = {}
    for entry in village.ledger.entries():
        before = copy.deepcopy(state)
        after = rules.apply(state, entry)
        assert state == before
        state = after
    assert state == dict(village.ledger.state)


energy = st.integers(-20_000, 20_000)
rate = st.integers(-500_000, 2_000_000)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(energy, energy, energy, energy, rate, rate), min_size=1, max_size=5),
    st.sampled_from(["operator", "pro_rata"]),
)
def test_money_and_energy_sum_to_zero_at_every_slot(slots, borne_by):
    keys, chain = KeyRing.derived(1), Chain("homes/main")

    def sign(actor: str, message: bytes) -> dict[str, str]:
        return keys.signer(actor).sign_field(message)

    def put(now: int, *items: Draft) -> None:
        for item in items:
            row = chain.seal(item, now, sign)
            assert sum(micro for _, micro, _ in row.postings) == 0

    vkey = keys.signer("homes/main").verifier.vkey
    roles = {"currency": "EUR", "operator": "vpp", "grid": "grid"}
    genesis = {**GENESIS_DEFAULTS, **roles, "residual_by": borne_by, "format": 1, "keys": "derived", "log_key": vkey}
    put(1, Draft("genesis", genesis, "genesis", "homes/main"))
    wallets = ("grid", "home-1", "home-2", "vpp")
    put(2, *(drafts.registration(w, "prosumer", meter=f"m-{w}", devices=[], keys=keys) for w in wallets))
    for n, (*energies, buy, sell) in enumerate(slots, 1):
        start = n * SLOT_US
        tariff = {"grid": "grid", "import_price": buy, "export_price": sell}
        homes = {"buy": {"home-1": buy, "home-2": buy + 1}, "sell": {"home-1": sell, "home-2": sell - 1}}
        digests = {"plan": "p", "inputs": DIGEST, "certificate": DIGEST}
        put(start, drafts.price("vpp", slot_us=start, slot_s=900, **homes, **tariff, **digests))
        for w, wh in zip(wallets, energies, strict=True):
            batch = {"root": DIGEST, "count": 1, "wh": wh}
            put(start + 1, drafts.metering(w, f"m-{w}", start_us=start, period_s=900, quality="actual", **batch))
        put(start + SLOT_US - 50, *settle_slot(chain.state, start))
        balances = [value for key, value in chain.state.items() if key[0] == "wallet"]
        assert sum(micro for micro, _ in balances) == 0
        assert sum(wh for _, wh in balances) == 0


def test_an_entry_of_a_newer_version_is_refused(village):
    entry = village.ledger.entry(0)
    with pytest.raises(EntryRefused, match="version 2"):
        Chain("homes/main").accept(canon.dumps({**entry, "v": 2}))


junk = st.sampled_from(
    [0, -1, True, "", "x", [], [[]], [1], {}, {"a": 1}, {"a": []}, "ab" * 32, 2**53 - 1, [["a", 1, 2]]]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_junk_in_any_field_is_refused_or_harmless_never_a_crash(data):
    """Every field of every kind of entry replaced by something else: refused by us, or it sums to zero."""
    entries = sample()
    at = data.draw(st.integers(0, len(entries) - 1))
    chain = Chain("homes/main")
    for entry in entries[:at]:
        chain.accept(canon.dumps(entry))
    entry = copy.deepcopy(entries[at])
    place = data.draw(st.sampled_from([entry, entry["body"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(junk)
    try:
        row = chain.accept(canon.dumps(entry))
    except LedgerError:
        return
    assert sum(micro for _, micro, _ in row.postings) == 0


@cache
def sample() -> list[dict[str, Any]]:
    """Entries of all types that a settled slot has."""
    keys, chain = KeyRing.derived(1), Chain("homes/main")
    vkey = keys.signer("homes/main").verifier.vkey
    roles = {"currency": "EUR", "operator": "vpp", "grid": "grid"}
    genesis = {**GENESIS_DEFAULTS, **roles, "format": 1, "keys": "derived", "log_key": vkey}
    tariff = {
        "grid": "grid",
        "import_price": 5,
        "export_price": 4,
        "plan": "p",
        "inputs": DIGEST,
        "certificate": DIGEST,
    }
    made: list[Draft] = [Draft("genesis", genesis, "genesis", "homes/main")]
    wallets = ("grid", "home-1", "vpp")
    made += [drafts.registration(w, "prosumer", meter=f"m-{w}", devices=[], keys=keys) for w in wallets]
    made += [drafts.price("vpp", slot_us=SLOT_US, slot_s=900, buy={"home-1": 3}, sell={"home-1": 2}, **tariff)]
    made += [
        drafts.metering(
            w, f"m-{w}", start_us=SLOT_US, period_s=900, root=DIGEST, count=1, wh=7, quality="actual", reg=(0, 0, 0, 7)
        )
        for w in wallets
    ]
    made += [drafts.dispatch("vpp", slot_us=SLOT_US, slot_s=900, plan="p", digest=DIGEST)]
    made += [drafts.anchor("vpp", origin="o", size=1, root=DIGEST, note=DIGEST, direction="up")]
    rows = [chain.seal(draft, 1, lambda actor, message: keys.signer(actor).sign_field(message)) for draft in made]
    settled = settle_slot(chain.state, SLOT_US)
    undo = drafts.reversal("vpp", of=settled[0].id, postings=settled[0].body["postings"], reason="test")
    rows += [chain.seal(draft, 1, lambda *_: None) for draft in (*settled, undo)]
    return [canon.loads(row.data) for row in rows]
