"""The ledger at volume: durable settlements, many producers, witnesses, a million entries verified, a year's sums."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure, figures
from benchmarks.ledger import DIGEST, HOMES, PARTIES, SLOT_US, begun, price
from ledger import Draft, KeyRing, Ledger, Receipt, drafts, settle_slot, tlog
from ledger.group import GroupCommit
from ledger.policy import Place, Policy
from ledger.publish import publish
from ledger.rules.state import State
from ledger.store import Store
from ledger.verify import verify
from ledger.witness import Cosigners
from twin.witness.demo import running

BATCH = 256
SETTLEMENTS, PRODUCERS, EACH, SINGLE, ROUNDS, PROOFS = 20_000, 64, 200, 1_000, 200, 20_000
ENTRIES = int(os.environ.get("BENCH_ENTRIES", "1000000"))
SLOTS = int(os.environ.get("BENCH_SLOTS", str(365 * 96)))


def main() -> None:
    """Print the figures, each in a folder of its own."""
    for part in (_settlements, _producers, _rounds, _million, _year):
        with tempfile.TemporaryDirectory(prefix="vpptwin-bench-") as name:
            figures(part(Path(name)))


def _metered(ledger: Ledger, now: list[int], slots: Sequence[int]) -> None:
    """Prices and metering of slots, written in time, many slots a batch of metering."""
    rates = dict.fromkeys(HOMES, 190_123)
    for slot in slots:
        start = now[0] = slot * SLOT_US
        ledger.append_many([price(start, rates)])
        ledger.append_many([_metering(party, n, start, slot) for n, (party, _) in enumerate(PARTIES)])


def _metering(party: str, n: int, start_us: int, slot: int) -> Draft:
    wh = (17 * n + slot * 31) % 977 - 411
    return drafts.metering(
        party, f"m-{party}", start_us=start_us, period_s=900, root=DIGEST, count=15, wh=wh, quality="actual"
    )


def _settlements(folder: Path) -> Iterator[Figure]:
    """Distinct settlements, every rule, durable every 256; what stays loaded is not searched for garbage (as serve)."""
    now = [SLOT_US]
    ledger = begun(folder, now)
    slots = range(1, SETTLEMENTS // (len(PARTIES) - 1) + 2)
    _metered(ledger, now, slots)
    todo = [d for n in slots for d in settle_slot(ledger.state, n * SLOT_US) if d.type == "settlement"]
    gc.collect()
    gc.freeze()
    batches = [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]
    waited, half = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    began, cpu = time.perf_counter(), time.process_time()
    _written(ledger, half)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    single_s = _seconds(lambda: [ledger.append_many(batch) for batch in waited])
    gc.unfreeze()
    count, others = (sum(map(len, part)) for part in (half, waited))
    yield Figure("durable full-rule settlements, batches of 256", count / took, "/s", at_least=40_000)
    yield Figure("processor time a settlement", used / count * 1e6, "us")
    yield Figure("the same, each batch waited for before the next is made", others / single_s, "/s")
    singles = sorted(_seconds(lambda n=n: _dispatched(ledger, n)) for n in range(SINGLE))  # type: ignore[misc]
    yield Figure("one durable append, median", singles[SINGLE // 2] * 1e3, "ms")
    yield Figure("one durable append, 99 %", singles[SINGLE * 99 // 100] * 1e3, "ms", at_most=2)
    ledger.close()


def _written(ledger: Ledger, batches: Sequence[Sequence[Draft]]) -> None:
    """Every batch a transaction; one is written while the next is made. Ends when the last is durable."""
    with GroupCommit(ledger, BATCH) as group:
        for answer in [group.submit(batch) for batch in batches]:
            if not all(isinstance(receipt, Receipt) for receipt in answer.result()):
                raise SystemExit("a settlement was refused")


def _dispatch(name: str, n: int) -> Draft:
    return Draft("dispatch", {"slot": n, "slot_s": 900, "plan": "plan", "digest": DIGEST}, f"{name}:{n}", "vpp")


def _dispatched(ledger: Ledger, n: int) -> None:
    ledger.append_many([_dispatch("dsp", n)])


def _producers(folder: Path) -> Iterator[Figure]:
    """Threads that each wait for their entry to be durable before they make the next."""
    ledger = begun(folder, [SLOT_US])
    with GroupCommit(ledger) as group, ThreadPoolExecutor(PRODUCERS) as pool:

        def produce(part: int) -> list[float]:
            first = part * EACH
            return [_seconds(lambda n=n: group.append(_dispatch("p", n))) for n in range(first, first + EACH)]  # type: ignore[misc]

        began = time.perf_counter()
        waits = sorted(wait for found in pool.map(produce, range(PRODUCERS)) for wait in found)
        took = time.perf_counter() - began
    ledger.close()
    yield Figure(f"{PRODUCERS} producers, group commit", len(waits) / took, "/s", at_least=25_000)
    yield Figure("one of them waits, 99 %", waits[len(waits) * 99 // 100] * 1e3, "ms", at_most=10)


def _rounds(folder: Path) -> Iterator[Figure]:
    """Eight witness processes on this machine; sign, publish tiles, ask all, keep, publish the head."""
    now = [SLOT_US]
    ledger = begun(folder / "ledger", now)
    log = KeyRing.derived(1).signer("bench/main").verifier
    with ExitStack() as stack:
        nodes = stack.enter_context(running(folder, 8, log, validate=False))
        policy = Policy.of([Place(log)], {name: node.place for name, node in nodes.items()}, 6)
        cosigners = stack.enter_context(Cosigners(policy))
        rounds, whole = [], []
        for n in range(ROUNDS):
            ledger.append_many([_dispatch("r", 4 * n + k) for k in range(4)])
            signed = ledger.checkpoint()
            rounds.append(_seconds(lambda signed=signed: cosigners.round(signed, ledger.consistency)))  # type: ignore[misc]
            whole.append(_seconds(lambda: publish(ledger, cosigners)))
    ledger.close()
    rounds.sort()
    whole.sort()
    yield Figure("cosign round, 8 local witnesses, median", rounds[ROUNDS // 2] * 1e3, "ms")
    yield Figure("cosign round, 8 local witnesses, 99 %", rounds[ROUNDS * 99 // 100] * 1e3, "ms", at_most=60)
    yield Figure("round again with tiles and head published, 99 %", whole[ROUNDS * 99 // 100] * 1e3, "ms")


def _million(folder: Path) -> Iterator[Figure]:
    """Settlements and their reversals, over and over: every rule of money on every entry, no new signature."""
    now = [SLOT_US]
    ledger = begun(folder, now)
    slots = range(1, 201)
    _metered(ledger, now, slots)
    while ledger.head().size < ENTRIES:
        todo = [draft for n in slots for draft in _again(ledger.state, n * SLOT_US)]
        for start in range(0, len(todo), 4096):
            ledger.append_many(todo[start : start + 4096])
    size = ledger.head().size
    ledger.close()
    yield Figure("entries in this log", size, "")
    millions = size / 1e6
    yield Figure(
        "deep verification a million (2 processes)", _seconds(lambda: _good(folder, False)) / millions, "s", at_most=3
    )
    yield Figure("with all rules executed, a million", _seconds(lambda: _good(folder, True)) / millions, "s")
    opened: list[Ledger] = []
    took = _seconds(lambda: opened.append(Ledger.open(folder, readonly=True)))
    yield Figure("open and full rule replay, a million", took / millions, "s", at_most=10)
    yield Figure(
        "inclusion proofs made", PROOFS / _seconds(lambda: _proofs(opened[0], check=False)), "/s", at_least=8_000
    )
    yield Figure("inclusion proofs made and checked", PROOFS / _seconds(lambda: _proofs(opened[0], check=True)), "/s")
    opened[0].close()


def _again(state: State, slot_us: int) -> list[Draft]:
    """Settlements of a slot if none stand, else their reversals."""
    found = [draft for draft in settle_slot(state, slot_us) if draft.type == "settlement"]
    if found:
        return found
    undone = []
    for party, _ in PARTIES:
        identity, _, standing = state.get(("settled", party, slot_us), ("", 0, False))
        if standing:
            undone.append(drafts.reversal("vpp", of=identity, postings=state["posted", identity][4], reason="again"))
    return undone


def _good(folder: Path, deep: bool) -> None:
    report = verify(folder, deep=deep)
    if not report.ok:
        raise SystemExit(f"the ledger does not verify: {report.findings[:3]}")


def _proofs(ledger: Ledger, check: bool) -> None:
    size, root = ledger.head()
    for n in range(PROOFS):
        seq = n * 7919 % size
        path = ledger.inclusion(seq)
        if check:
            leaf = tlog.leaf_hash(ledger.data(seq))
            assert tlog.verify_inclusion(leaf, seq, size, path, bytes.fromhex(root))


def _year(folder: Path) -> Iterator[Figure]:
    """A year of quarter hours, 8 homes, operator and grid: the sum of all wallets after every single entry."""
    now = [SLOT_US]
    ledger = begun(folder, now)
    began = time.perf_counter()
    for slot in range(1, SLOTS + 1):
        _metered(ledger, now, [slot])
        ledger.append_many(settle_slot(ledger.state, slot * SLOT_US))
    took = time.perf_counter() - began
    size, wallets = ledger.head().size, ledger.wallets()
    ledger.close()
    off, total, last = _sums(Store(folder / "logs" / "main" / "ledger.db", readonly=True))
    yield Figure("slots of a year of 8 homes", SLOTS, "")
    yield Figure("entries", size, "")
    yield Figure("entries a second, metered, signed, settled, durable", size / took, "/s")
    yield Figure("entries after which the wallets do not sum to 0", off, "", at_most=0)
    yield Figure(
        "sum of all wallets at the end", total + last + sum(micro for micro, _ in wallets.values()), "micro", at_most=0
    )


def _sums(store: Store) -> tuple[int, int, int]:
    """(entries after which the running sum is not 0, sum of postings, |sum of stored wallets|)."""
    total, off, seq = 0, 0, -1
    for number, _, _, micro, _ in store.postings():
        if number != seq:
            off += total != 0
            seq = number
        total += micro
    held = abs(sum(micro for micro, _ in store.wallets().values()))
    store.close()
    return off + (total != 0), abs(total), held


def _seconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began
