"""Witnesses: what they cosign and what they refuse, over real sockets, and what the log does with it."""

from __future__ import annotations

import http.client
import random
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger import Draft, KeyRing, Ledger, note, places, receipt, tlog
from ledger.errors import NoteError, WitnessError
from ledger.fsck import faults
from ledger.note import Checkpoint, Signer
from ledger.policy import Place, Policy
from ledger.publish import publish
from ledger.tiles import folder_fetch
from ledger.verify import verify
from ledger.witness import Cosigners, Validator, Witness, WitnessServer
from ledger.witness.heads import Heads
from ledger.witness.request import written

ORIGIN = "homes/main"
RING = KeyRing.derived(21)
LOG = RING.signer(ORIGIN)
LEAVES = [tlog.leaf_hash(str(n).encode()) for n in range(40)]
FORK = [*LEAVES[:9], *(tlog.leaf_hash(b"other %d" % n) for n in range(31))]
EMPTY: list[bytes] = []


def head(size: int, leaves: list[bytes] = LEAVES, signer: Signer = LOG, origin: str = ORIGIN) -> str:
    return note.sign(Checkpoint(origin, size, tlog.root(leaves[:size])).text, signer)


def proof(first: int, second: int, leaves: list[bytes] = LEAVES) -> list[bytes]:
    return tlog.consistency(tlog.reader(leaves), first, second)


@pytest.fixture
def witness(tmp_path) -> Iterator[Witness]:
    heads = Heads(tmp_path / "heads.db")
    yield Witness(RING.signer("witness.example/w1"), [LOG.verifier], heads, lambda: 1_700_000_000)
    heads.close()


def ask(witness: Witness, old: int, hashes: list[bytes], signed: str) -> int:
    return witness.add_checkpoint(written(old, hashes, signed)).status


def test_a_growing_log_is_cosigned(witness):
    for old, size in ((0, 5), (5, 5), (5, 8), (8, 9), (9, 40)):
        answer = witness.add_checkpoint(written(old, proof(old, size) if 0 < old < size else EMPTY, head(size)))
        assert (answer.status, answer.type) == (200, "text/plain; charset=utf-8")
        assert note.Note.parse(head(size) + answer.body).verify([witness.signer.cosigner])


def test_every_refusal_has_its_status(witness):
    """The statuses of C2SP tlog-witness; none of these heads is ever cosigned."""
    assert ask(witness, 0, EMPTY, head(20)) == 200
    thief = KeyRing.derived(6).signer(ORIGIN)
    cases = {
        "a fork: a proof from another tree": (422, 20, proof(20, 30, FORK), head(30, FORK)),
        "a fork: no proof": (422, 20, EMPTY, head(30, FORK)),
        "a true head with a wrong proof": (422, 20, proof(19, 30), head(30)),
        "a split view: another root at this size": (409, 20, EMPTY, head(20, FORK)),
        "a rollback: the head is smaller than the old size": (400, 20, EMPTY, head(10)),
        "a stale old size": (409, 10, proof(10, 30), head(30)),
        "forgotten: old size 0": (409, 0, EMPTY, head(30)),
        "an old size it never saw": (409, 25, proof(25, 30), head(30)),
        "a proof to the same size": (422, 20, LEAVES[:1], head(20)),
        "another key of the same name": (403, 20, proof(20, 30), head(30, signer=thief)),
        "a forged signature": (403, 20, proof(20, 30), head(30).replace("\n\n", "\n\n", 1)[:-8] + "AAAAAA=\n"),
        "an unknown log": (404, 0, EMPTY, head(5, signer=RING.signer("x/main"), origin="x/main")),
    }
    for what, (status, old, hashes, signed) in cases.items():
        assert ask(witness, old, hashes, signed) in (status, *([400] if "forged" in what else [])), what
    assert witness._heads.get(ORIGIN) == (20, head(20))
    assert ask(witness, 20, proof(20, 30), head(30)) == 200


def test_a_conflict_says_the_size_and_keeps_the_evidence(witness):
    ask(witness, 0, EMPTY, head(20))
    answer = witness.add_checkpoint(written(20, EMPTY, head(20, FORK)))
    assert (answer.status, answer.body, answer.type) == (409, "20\n", "text/x.tlog.size")
    assert witness._heads.evidence() == [(ORIGIN, head(20), head(20, FORK))]
    held, shown = (Checkpoint.parse(note.Note.parse(text).text) for text in (head(20), head(20, FORK)))
    assert held.size == shown.size
    assert held.root != shown.root
    for text in (head(20), head(20, FORK)):
        assert note.Note.parse(text).verify([LOG.verifier]), "the log's own signature under both convicts it"


def test_from_nothing_nothing_is_proved(witness):
    assert ask(witness, 0, proof(5, 20), head(20)) == 422
    assert ask(witness, 0, EMPTY, note.sign(Checkpoint(ORIGIN, 0, bytes(32)).text, LOG)) == 409
    assert ask(witness, 0, EMPTY, note.sign(Checkpoint(ORIGIN, 0, tlog.EMPTY).text, LOG)) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 5\n",
        b"old 05\n\n" + head(5).encode(),
        b"old -1\n\n" + head(5).encode(),
        b"old 0\r\n\n" + head(5).encode(),
        b"old 0\nAAAA\n\n" + head(5).encode(),
        b"old 0\n!!\n\n" + head(5).encode(),
        b"old 0\n" + b"A" * 43 + b"=\n" + b"\n" + head(5).encode()[:-1],
        b"old 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + head(5).encode(),
        b"\xff\xfe\n\n",
        b"old 0\n\n" + head(5).encode().replace(b"\n5\n", b"\n05\n"),
    ],
)
def test_malformed_requests_are_400(witness, body):
    assert witness.add_checkpoint(body).status == 400


def test_no_bit_of_a_request_can_be_flipped_into_another_cosigned_head(witness):
    """A flipped bit is refused, or changes nothing that is signed (the old size of a head seen first is not)."""
    ask(witness, 0, EMPTY, head(20))
    body = written(20, proof(20, 30), head(30))
    dice = random.Random(8)
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1 << dice.randrange(8)]) + body[at + 1 :]
        assert witness.add_checkpoint(changed).status != 200, at
    assert witness.add_checkpoint(body).status == 200


def test_a_witness_restarted_remembers(witness, tmp_path):
    ask(witness, 0, EMPTY, head(20))
    again = Witness(witness.signer, [LOG.verifier], Heads(tmp_path / "heads.db"), lambda: 1)
    assert ask(again, 0, EMPTY, head(30, FORK)) == 409
    assert ask(again, 20, proof(20, 30), head(30)) == 200
    again._heads.close()


def test_racing_requests_never_roll_back(witness):
    """Many at once for different sizes: the one head remembered at the end is the largest cosigned."""
    with ThreadPoolExecutor(8) as pool:
        ask(witness, 0, EMPTY, head(5))
        sizes = list(range(6, 41)) * 2
        statuses = list(pool.map(lambda size: ask(witness, 5, proof(5, size), head(size)), sizes))
    assert statuses.count(200) == 1
    won = sizes[statuses.index(200)]
    assert witness._heads.get(ORIGIN) == (won, head(won))


class Eight:
    """Eight witnesses on ports of their own, and the policy that wants six of them."""

    def __init__(self, folder: Path, log: Signer, stack: ExitStack) -> None:
        self.folder, self.log = folder, log
        self.servers: dict[str, WitnessServer] = {}
        self.heads: dict[str, Heads] = {}
        places_: dict[str, Place] = {}
        for n in range(1, 9):
            name = f"w{n}"
            signer = RING.signer(f"witness.example/{name}")
            self.heads[name] = Heads(folder / f"{name}.db")
            stack.callback(self.heads[name].close)
            witness = Witness(signer, [log.verifier], self.heads[name], lambda: 1_700_000_000)
            self.servers[name] = stack.enter_context(WitnessServer(witness))
            places_[name] = Place(signer.cosigner, self.servers[name].url)
        self.policy = Policy.of([Place(log.verifier)], places_, 6)


@pytest.fixture
def eight(village, tmp_path) -> Iterator[Eight]:
    with ExitStack() as stack:
        yield Eight(tmp_path, village.keys.signer(ORIGIN), stack)


def test_a_log_is_published_with_eight_cosignatures(village, eight):
    with Cosigners(eight.policy) as cosigners:
        for n in range(4, 7):
            found = publish(village.ledger, cosigners)
            assert len(found.cosigned) == 8
            assert found.refused == {}
            village.slots(1, start=n)
        last = publish(village.ledger, cosigners)
        assert publish(village.ledger, cosigners).signed == last.signed, "the same head is not asked for twice"
    folder = places.tiles(village.folder)
    assert (folder / "checkpoint").read_text() == last.signed == places.pin(village.folder).read_text()
    assert list(faults(folder, eight.log.verifier)) == []
    report = verify(village.folder, policy=eight.policy)
    assert report.ok, report.findings
    assert report.cosigned_size == report.entries
    text = receipt.entry_receipt(village.folder, 9)
    assert receipt.check(text, village.ledger._store.data(9), eight.policy).size == report.entries
    village.ledger.close()
    village.reopen()
    assert village.ledger.checkpoint() == last.signed


def test_two_witnesses_down_is_fine_three_is_not(village, eight):
    with Cosigners(eight.policy, timeout_s=2) as cosigners:
        first = publish(village.ledger, cosigners).signed
        village.slots(1, start=4)
        for name in ("w1", "w2"):
            eight.servers[name].close()
        for asked in cosigners._asked.values():
            asked.close()
        found = publish(village.ledger, cosigners)
        assert found.cosigned == ("w3", "w4", "w5", "w6", "w7", "w8")
        assert set(found.refused) == {"w1", "w2"}
        village.slots(1, start=5)
        eight.servers["w3"].close()
        cosigners._asked["w3"].close()
        with pytest.raises(WitnessError, match=r"5 of 8 cosigned .* w1: no answer"):
            publish(village.ledger, cosigners)
    assert (places.tiles(village.folder) / "checkpoint").read_text() == found.signed != first
    report = verify(village.folder, policy=eight.policy)
    assert report.ok, "the head before still holds"
    assert report.cosigned_size < report.entries


def test_a_fork_and_a_rollback_find_no_witness(village, eight, tmp_path):
    with Cosigners(eight.policy) as cosigners:
        publish(village.ledger, cosigners)
        village.ledger.close()
        fork = tmp_path / "fork" / "ledger"
        shutil.copytree(village.folder, fork)
        village.reopen()
        village.slots(2, start=4)
        good = publish(village.ledger, cosigners)
        other = Ledger.open(fork, keys=village.keys, now_us=lambda: village.now)
        body = {"slot": 1, "slot_s": 900, "plan": "p", "digest": "ab" * 32}
        other.append_many([Draft("dispatch", body, "f", "vpp")])
        with pytest.raises(WitnessError, match="409: has cosigned"):  # its head is smaller: rolled back
            publish(other, cosigners)
        bodies = [{"slot": n, "slot_s": 900, "plan": "p", "digest": "ab" * 32} for n in range(2, 90)]
        other.append_many([Draft("dispatch", body, f"f{body['slot']}", "vpp") for body in bodies])
        with pytest.raises(WitnessError, match=r"0 of 8 cosigned .* 422"):  # larger: a fork
            publish(other, cosigners)
        other.close()
    assert all(len(heads.evidence()) == 1 for heads in eight.heads.values())
    assert (places.tiles(fork) / "checkpoint").read_text() != good.signed
    findings = verify(fork, heads=[good.signed], policy=eight.policy).findings
    assert [f.layer for f in findings] == ["head"]


def test_too_few_or_forged_cosignatures_are_found(village, eight):
    with Cosigners(eight.policy) as cosigners:
        signed = publish(village.ledger, cosigners).signed
    village.ledger.close()
    places.write_whole(places.policy(village.folder), eight.policy.text)
    lines = signed.splitlines(keepends=True)
    pin, database = places.pin(village.folder), places.database(village.folder)

    def layers(text: str) -> list[str]:
        places.write_whole(pin, text)
        with sqlite3.connect(database) as db:
            db.execute("UPDATE checkpoint SET note = ?", (text,))
        db.close()
        return [finding.layer for finding in verify(village.folder).findings]

    assert layers(signed) == []
    assert layers("".join(lines[:-2])) == []
    assert layers("".join(lines[:-3])) == ["witness"]
    forged = Checkpoint(ORIGIN, 1, bytes(32)).text
    replaced = RING.signer("witness.example/w8").cosignature(forged, 1)
    assert set(layers("".join(lines[:-1]) + replaced)) == {"witness"}


def test_keep_takes_only_heads_of_this_log(village):
    village.ledger.checkpoint()
    size, root = village.ledger.head()
    thief = KeyRing.derived(9).signer(ORIGIN)
    own = village.keys.signer(ORIGIN)
    for checkpoint, signer in (
        (Checkpoint(ORIGIN, size, bytes.fromhex(root)), thief),
        (Checkpoint(ORIGIN, size, bytes(32)), own),
        (Checkpoint(ORIGIN, size + 1, bytes.fromhex(root)), own),
        (Checkpoint(ORIGIN, 0, tlog.EMPTY), own),
    ):
        with pytest.raises(NoteError):
            village.ledger.keep(note.sign(checkpoint.text, signer))


@pytest.fixture
def validating(village, tmp_path) -> Iterator[Cosigners]:
    """One witness that re-executes the rules from the published tiles."""
    log = village.keys.signer(ORIGIN)
    heads = Heads(tmp_path / "v.db")
    rules = {ORIGIN: Validator(ORIGIN, folder_fetch(places.tiles(village.folder)))}
    witness = Witness(RING.signer("v"), [log.verifier], heads, lambda: 5, rules)
    with WitnessServer(witness) as server:
        policy = Policy.of([Place(log.verifier)], {"v": Place(witness.signer.cosigner, server.url)}, 1)
        with Cosigners(policy) as cosigners:
            yield cosigners
    heads.close()


def test_a_validating_witness_follows_the_log(village, validating):
    for n in range(4, 7):
        assert publish(village.ledger, validating).cosigned == ("v",)
        village.slots(1, start=n)
    assert publish(village.ledger, validating).cosigned == ("v",)


def test_a_validating_witness_refuses_an_operator_who_breaks_a_rule(village, validating, monkeypatch):
    """The operator, with the log's own key, pays itself a micro more: the tree is sound, the rule is not."""
    publish(village.ledger, validating)
    village.price(4)
    village.meter(4)
    with monkeypatch.context() as patched:
        patched.setattr("ledger.chain.rules.changes", lambda state, entry: {})
        body = {"of": "stl:x", "postings": [["vpp", 1, 0], ["home-1", -1, 0]], "reason": "mine"}
        village.ledger.append("reversal", body, id="rev:mine", by="vpp")
    with pytest.raises(WitnessError, match=r"422: entry \d+ \(reversal rev:mine\).*no standing settlement"):
        publish(village.ledger, validating)
    assert verify(village.folder).findings[0].layer == "rules"


def test_a_validating_witness_refuses_other_entries_than_signed(village, validating):
    publish(village.ledger, validating)
    village.slots(1, start=4)
    signed = village.ledger.checkpoint()
    folder = places.tiles(village.folder)
    with pytest.raises(WitnessError, match="422"):
        validating.round(signed, village.ledger.consistency)
    assert not (folder / "tile/entries/000").exists()
    assert publish(village.ledger, validating).cosigned == ("v",), "once the tiles are there it goes on"


def test_the_server_answers_plainly_to_what_is_no_request(witness):
    with WitnessServer(witness) as server:
        host, port = server.url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=5)

        def status(method: str, path: str, body: bytes | None = None, **headers: str) -> int:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            return response.status

        assert status("GET", "/vkey") == 200
        assert status("GET", "/") == 404
        assert status("POST", "/other", b"x") == 404
        assert status("POST", "/add-checkpoint", b"x" * 70_000) == 400
        assert status("POST", "/deep/prefix/add-checkpoint", written(0, EMPTY, head(5))) == 200
        connection.close()
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(b"nonsense\r\n\r\n")
            assert b"400" in raw.recv(1000)


def test_no_quorum_can_be_had_without_addresses(eight):
    mute = {name: Place(place.verifier) for name, place in eight.policy.witnesses.items()}
    with pytest.raises(WitnessError, match="too few witnesses have a URL"):
        Cosigners(Policy.of(eight.policy.logs, mute, 6))
    with pytest.raises(WitnessError, match="not an address"):
        Cosigners(Policy.of(eight.policy.logs, {"w1": Place(eight.policy.witnesses["w1"].verifier, "ftp:x")}, 1))
