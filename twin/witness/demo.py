"""Eight local witnesses, each a process that re-executes the rules; an honest log, then a log that lies to them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ledger import Draft, Head, KeyRing, Ledger, canon, drafts, note, places, tlog
from ledger.chain import VERSION
from ledger.note import Checkpoint, Signer, Verifier
from ledger.policy import Place, Policy
from ledger.publish import publish
from ledger.store import Store, reading
from ledger.tiles import write_tiles
from ledger.verify import verify
from ledger.witness import Cosigners, submit
from twin.clock import WallClock
from twin.errors import TwinError

LOG = "demo/main"
START_S = 20
DIGEST = "ab" * 32


class Step(NamedTuple):
    """What was tried, what the witnesses answered, and whether that is what they must answer."""

    tried: str
    answered: str
    good: bool


class Node(NamedTuple):
    """A running witness."""

    process: subprocess.Popen[str]
    place: Place


def demonstrate(folder: Path, nodes: int = 8, quorum: int = 6) -> Iterator[Step]:
    """Start the witnesses, grow a log under them, then try to cheat; yields each step as it is done.

    folder : an empty one, which keeps the logs, the policy and the witnesses' memories
    """
    keys = KeyRing.random()
    log = keys.signer(LOG)
    with running(folder, nodes, log.verifier) as started:
        policy = Policy.of([Place(log.verifier)], {name: node.place for name, node in started.items()}, quorum)
        ledger = _begun(folder / "ledger", keys)
        places.write_whole(places.policy(ledger.folder), policy.text, 0o644)
        with ledger, Cosigners(policy) as cosigners:
            yield from _honest(ledger, cosigners, folder)
            yield from _two_down(ledger, cosigners, started, nodes - quorum)
            yield _pinned(ledger, policy)
            alive = [node.place for node in started.values() if node.process.poll() is None]
            yield from _lies(ledger, keys, folder, alive)
            yield _broken_rule(ledger, keys, folder, alive)


def _begun(folder: Path, keys: KeyRing) -> Ledger:
    genesis = {"currency": "EUR", "operator": "vpp", "grid": "grid"}
    ledger = Ledger.create(folder, log=LOG, keys=keys, now_us=WallClock().now_us, genesis=genesis)
    ledger.append_many([drafts.registration("vpp", "operator", meter="meter-vpp", devices=[], keys=keys)])
    return ledger


def _honest(ledger: Ledger, cosigners: Cosigners, folder: Path) -> Iterator[Step]:
    for count in (20, 300):
        if count == 300:
            shutil.copytree(ledger.folder, folder / "fork" / "ledger")
        _dispatched(ledger, count)
        found = publish(ledger, cosigners)
        everyone = len(cosigners.policy.witnesses)
        said = f"{len(found.cosigned)} of {everyone} cosigned after executing every rule"
        yield Step(f"an honest head of {ledger.head().size} entries", said, len(found.cosigned) == everyone)


def _two_down(ledger: Ledger, cosigners: Cosigners, nodes: dict[str, Node], down: int) -> Iterator[Step]:
    for node in list(nodes.values())[:down]:
        _stop(node)
    _dispatched(ledger, 10)
    found = publish(ledger, cosigners)
    good = len(found.cosigned) == len(nodes) - down
    yield Step(f"{down} witnesses stopped, the log grows", f"{len(found.cosigned)} cosigned: the quorum holds", good)


def _pinned(ledger: Ledger, policy: Policy) -> Step:
    report = verify(ledger.folder, policy=policy)
    return Step("verify under the policy", f"{report.cosigned_size} entries under a quorum", report.ok)


def _lies(ledger: Ledger, keys: KeyRing, folder: Path, alive: Sequence[Place]) -> Iterator[Step]:
    """A copy of the log, kept before its last entries, is written on with the log's own key."""
    size = ledger.head().size
    fork = Ledger.open(folder / "fork" / "ledger", keys=keys, now_us=WallClock().now_us)
    with fork:
        small = fork.checkpoint()
        since = fork.head().size
        _dispatched(fork, size - since, plan="other")
        same = fork.checkpoint()
        _dispatched(fork, 5, plan="other")
        large, proof = fork.checkpoint(), fork.consistency(size)
        honest = ledger.consistency(since, size)
    yield _asked("a fork: other entries, one more head that grows", 422, alive, size, proof, large)
    yield _asked("a split view: another root at the size they cosigned", 409, alive, size, [], same)
    yield _asked(f"a rollback: the head of {since} entries again", 400, alive, size, [], small)
    yield _asked("a restored backup: it believes they are at its old size", 409, alive, since, honest, same)
    thief, own = KeyRing.random().signer(LOG), Checkpoint.parse(note.Note.parse(large).text)
    yield _asked("the same, signed by another key", 403, alive, size, proof, note.sign(own.text, thief))
    unknown = note.sign(Checkpoint("other/main", own.size, own.root).text, keys.signer("other/main"))
    yield _asked("a log they do not know", 404, alive, 0, [], unknown)


def _broken_rule(ledger: Ledger, keys: KeyRing, folder: Path, alive: Sequence[Place]) -> Step:
    """The operator pays itself: hashes, chain, tree and signature are sound, only the rules are not."""
    size = ledger.head().size
    signed, proof = _forged(ledger, keys.signer(LOG))
    step = _asked("an entry that breaks a rule, soundly chained and signed", 422, alive, size, proof, signed)
    said = submit(alive[0], size, proof, signed).body.strip()
    return Step(step.tried, f"{step.answered}: {said[:110]}", step.good and "rev:mine" in said)


def _forged(ledger: Ledger, signer: Signer) -> tuple[str, list[bytes]]:
    """A head over the published entries and one that the rules refuse, with its tiles; and the proof that it grows."""
    size = ledger.head().size
    last = ledger.entry(size - 1)
    entry: dict[str, Any] = {
        **{name: last[name] for name in ("log", "rules")},
        "body": {"of": "none", "postings": [["vpp", 1, 0], ["grid", -1, 0]], "reason": "mine"},
        **{"by": "vpp", "id": "rev:mine", "prev": tlog.leaf_hash(canon.dumps(last)).hex(), "seq": size},
        **{"ts": last["ts"] + 1, "type": "reversal", "v": VERSION},
    }
    data = canon.dumps(entry)
    with reading(ledger.folder, ledger.name) as store:
        forged = _Longer(store, data)
        leaves = [*store.hashes(0, 0, size), tlog.leaf_hash(data)]
        write_tiles(forged, places.tiles(ledger.folder), size + 1, 0)
    proof = tlog.consistency(tlog.reader(leaves), size, size + 1)
    return note.sign(Checkpoint(LOG, size + 1, tlog.root(leaves)).text, signer), proof


class _Longer(Store):
    """A log's store as it would be with one more entry; for reading."""

    def __init__(self, store: Store, data: bytes) -> None:
        self._store, self._data = store, data
        self._leaf = tlog.leaf_hash(data)

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        """As Store.hashes; the one leaf more completes no tile."""
        try:
            return self._store.hashes(level, start, end)
        except KeyError:
            return [*self._store.hashes(level, start, end - 1), self._leaf]

    def entries(self, start: int, end: int) -> list[bytes]:
        """As Store.entries."""
        found = self._store.entries(start, end)
        return found if len(found) == end - start else [*found, self._data]


def _asked(tried: str, status: int, alive: Sequence[Place], old: int, proof: Sequence[bytes], signed: str) -> Step:
    """Every witness is shown the same; all must answer with this status."""
    answers = Counter(submit(place, old, proof, signed).status for place in alive)
    said = ", ".join(f"{count} x {code}" for code, count in sorted(answers.items()))
    return Step(tried, f"{said} {_WORDS[status]}", answers == {status: len(alive)})


_WORDS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable",
}


def _dispatched(ledger: Ledger, count: int, plan: str = "plan") -> Head:
    size = ledger.head().size
    bodies = [{"slot": n, "slot_s": 900, "plan": plan, "digest": DIGEST} for n in range(size, size + count)]
    ledger.append_many([Draft("dispatch", body, f"dsp:{body['slot']}", "vpp") for body in bodies])
    return ledger.head()


@contextmanager
def running(folder: Path, nodes: int, log: Verifier, *, validate: bool = True) -> Iterator[dict[str, Node]]:
    """That many witness processes, w1 and on, for the log in folder/ledger; all stopped at the end."""
    rules = ["--validate", str(places.tiles(folder / "ledger"))] if validate else []
    command = [sys.executable, "-m", "twin.witness.node"]
    started: dict[str, subprocess.Popen[str]] = {}
    answering: dict[str, Node] = {}
    try:
        for n in range(1, nodes + 1):
            words = [str(folder / f"w{n}"), f"witness.example/w{n}", log.vkey, *rules]
            started[f"w{n}"] = subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True)
        for name, process in started.items():
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise TwinError("a witness did not start", where=name, mend="see its message above")
            url, vkey = line.split()
            answering[name] = Node(process, Place(Verifier.parse(vkey), url))
        yield answering
    finally:
        for process in started.values():
            _stop(Node(process, Place(log)))


def _stop(node: Node) -> None:
    node.process.terminate()
    node.process.wait(START_S)
    if node.process.stdout:
        node.process.stdout.close()
