"""Policies: what the file may say, and which heads they accept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import KeyRing, note
from ledger.errors import NoteError, PolicyError
from ledger.note import Checkpoint
from ledger.policy import Place, Policy

RING = KeyRing.derived(4)
LOG = RING.signer("homes/main")
NODES = {f"w{n}": RING.signer(f"witness.example/w{n}") for n in range(1, 9)}
HEAD = Checkpoint("homes/main", 7, bytes(32)).text


def six_of_eight() -> Policy:
    places = {name: Place(signer.cosigner, f"http://{name}:80") for name, signer in NODES.items()}
    return Policy.of([Place(LOG.verifier)], places, 6)


def signed(*names: str, time_s: int = 1) -> str:
    return note.sign(HEAD, LOG) + "".join(NODES[name].cosignature(HEAD, time_s) for name in names)


def test_a_policy_reads_what_it_writes():
    policy = six_of_eight()
    assert Policy.parse(policy.text) == policy
    assert policy.groups == {"witnesses": (6, tuple(NODES))}
    assert policy.witnesses["w3"].url == "http://w3:80"


@given(st.sets(st.sampled_from(sorted(NODES))))
def test_six_of_eight_are_needed(names):
    policy = six_of_eight()
    text = signed(*sorted(names))
    assert policy.cosigned(text) == names
    if len(names) >= 6:
        assert policy.accept(text).size == 7
    else:
        with pytest.raises(NoteError, match="too few cosignatures"):
            policy.accept(text)


def test_cosignatures_of_strangers_repeated_or_forged_do_not_count():
    five = ["w1", "w2", "w3", "w4", "w5"]
    stranger = KeyRing.derived(5).signer("witness.example/w6")
    for extra in (stranger.cosignature(HEAD, 1), NODES["w5"].cosignature(HEAD, 2)):
        with pytest.raises(NoteError, match="too few"):
            six_of_eight().accept(signed(*five) + extra)
    text = Checkpoint("homes/main", 8, bytes(32)).text
    with pytest.raises(NoteError, match="wrong signature"):
        six_of_eight().accept(signed(*five) + NODES["w6"].cosignature(text, 1))
    with pytest.raises(NoteError, match="not signed by a trusted key"):
        six_of_eight().accept(HEAD + "\n" + "".join(signed(*NODES).splitlines(keepends=True)[5:]))


def test_groups_of_groups():
    lines = [f"witness {name} {signer.cosigner.vkey}" for name, signer in NODES.items()]
    groups = ["group a 2 w1 w2 w3", "group b\tany  w4 w5", "group both all a b", "quorum both", "# said", ""]
    policy = Policy.parse("\n".join([*lines, *groups]))
    assert policy.satisfied({"w1", "w3", "w5"})
    assert not policy.satisfied({"w1", "w5"})
    assert not policy.satisfied({"w1", "w2", "w3"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no quorum"),
        ("quorum w9", "not defined above"),
        ("quorum none\nquorum none", "not one quorum"),
        ("group g 3 w1 w2\nquorum g", "can never be reached"),
        ("group g 0 w1\nquorum g", "threshold"),
        ("group g 01 w1\nquorum g", "threshold"),
        ("group g any\nquorum g", "not a group line"),
        ("group g all w1 w1\nquorum g", "member twice"),
        ("group g all w1\ngroup h all w1\nquorum g", "member twice"),
        ("group g any h\ngroup h any w1\nquorum g", "not defined above"),
        ("group none any w1\nquorum g", "is taken"),
        ("group w1 any w2\nquorum g", "is taken"),
        (f"witness w1 {NODES['w3'].cosigner.vkey}", "is taken"),
        (f"witness w3 {NODES['w1'].cosigner.vkey}", "listed twice"),
        (f"witness w3 {LOG.verifier.vkey}", "type 1, not 4"),
        (f"log {NODES['w3'].cosigner.vkey}", "type 4, not 1"),
        (f"log {LOG.verifier.vkey}\nlog {LOG.verifier.vkey}", "listed twice"),
        ("log a+00000000+AAAA", "not a verifier key|does not belong"),
        ("witness w3", "not a witness line"),
        ("log", "not a log line"),
        ("nodes 3", "no line begins"),
        ("quorum none\r", "control character"),
    ],
)
def test_what_a_policy_may_not_say(line, said):
    lines = [f"witness {name} {NODES[name].cosigner.vkey}" for name in ("w1", "w2")]
    with pytest.raises(PolicyError, match=said):
        Policy.parse("\n".join([*lines, line]))


def test_a_policy_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(tmp_path / "policy")
    (tmp_path / "policy").write_text(six_of_eight().text)
    assert Policy.load(tmp_path / "policy") == six_of_eight()
