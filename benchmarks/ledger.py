"""The ledger: durable appends beside bare hashing and storing of the same bytes; verification; proofs."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.figures import Figure, figures
from ledger import Draft, KeyRing, Ledger, canon, drafts, settle_slot, tlog
from ledger.verify import verify

DIGEST = "ab" * 32
SLOT_US = 900_000_000
HOMES = [f"home-{n}" for n in range(8)]
PARTIES = [*((home, "prosumer") for home in HOMES), ("vpp", "operator"), ("grid", "grid")]
SLOTS, SINGLE, PROOFS = 1_000, 300, 4_000
BARE = "SHA-256 and sqlite3 alone"


def main() -> None:
    """Print figures of a ledger of 1,000 metered and settled slots."""
    with tempfile.TemporaryDirectory(prefix="vpptwin-bench-") as name:
        folder = Path(name)
        now = [SLOT_US]
        ledger = begun(folder, now)
        append_s = _seconds(lambda: _slots(ledger, now))
        single_s = [_seconds(lambda n=n: _dispatch(ledger, n)) for n in range(SINGLE)]  # type: ignore[misc]
        ledger.checkpoint()
        proof_s = _seconds(lambda: _proofs(ledger))
        entries = [canon.dumps(entry) for entry in ledger.entries()]
        ledger.close()
        per_slot = (len(entries) - SINGLE) // SLOTS
        found = [*_appends(len(entries) - SINGLE, append_s, _bare_s(folder, entries, per_slot))]
        found += _singles(single_s, _bare_s(folder, entries[-SINGLE:], 1) / SINGLE)
        found.append(Figure("inclusion proofs made and checked", PROOFS / proof_s, "/s"))
        figures([*found, *_verifying(folder, len(entries))])


def begun(folder: Path, now: list[int]) -> Ledger:
    """A new ledger in which all PARTIES are registered; now : its clock, µs, to be set by the caller."""
    keys = KeyRing.derived(1)
    genesis = {"currency": "USD", "operator": "vpp", "grid": "grid"}
    ledger = Ledger.create(folder, log="bench/main", keys=keys, now_us=lambda: now[0], genesis=genesis)
    ledger.append_many([drafts.registration(w, r, meter=f"m-{w}", devices=[], keys=keys) for w, r in PARTIES])
    return ledger


def _slots(ledger: Ledger, now: list[int]) -> None:
    """Price, metering and settlement of every slot, three durable batches each, as a run writes them."""
    rates = dict.fromkeys(HOMES, 190_123)
    for slot in range(1, SLOTS + 1):
        start_us = now[0] = slot * SLOT_US
        ledger.append_many([price(start_us, rates)])
        ledger.append_many([_metering(party, n, start_us) for n, (party, _) in enumerate(PARTIES)])
        ledger.append_many(settle_slot(ledger.state, start_us))


def price(start_us: int, rates: dict[str, int]) -> Draft:
    """Prices of one slot; rates : micro-USD per kWh by party."""
    return drafts.price(
        "vpp", slot_us=start_us, slot_s=900, buy=rates, sell=rates, grid="grid", import_price=210_000,
        export_price=80_000, plan="plan", inputs=DIGEST, certificate=DIGEST,
    )  # fmt: skip


def _metering(party: str, n: int, start_us: int) -> Draft:
    return drafts.metering(
        party, f"m-{party}", start_us=start_us, period_s=900, root=DIGEST, count=15, wh=17 * n - 31, quality="actual"
    )


def _dispatch(ledger: Ledger, n: int) -> None:
    body = {"slot": n, "slot_s": 900, "plan": "plan", "digest": DIGEST}
    ledger.append("dispatch", body, id=f"dsp:{n}", by="vpp")


def _proofs(ledger: Ledger) -> None:
    size, root = ledger.head()
    for n in range(PROOFS):
        seq = n * 7919 % size
        leaf = tlog.leaf_hash(canon.dumps(ledger.entry(seq)))
        assert tlog.verify_inclusion(leaf, seq, size, ledger.inclusion(seq), bytes.fromhex(root))


def _bare_s(folder: Path, entries: Sequence[bytes], batch: int) -> float:
    """Seconds to hash and durably store these bytes, `batch` a transaction: no rules, no signatures, no tree."""
    path = folder / "bare.db"
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, leaf BLOB, data BLOB)")

    def store() -> None:
        for start in range(0, len(entries), batch):
            part = enumerate(entries[start : start + batch], start)
            db.execute("BEGIN")
            db.executemany(
                "INSERT INTO entry VALUES (?,?,?)", [(n, hashlib.sha256(data).digest(), data) for n, data in part]
            )
            db.execute("COMMIT")

    took = _seconds(store)
    db.close()
    return took


def _appends(count: int, took_s: float, bare_s: float) -> Iterator[Figure]:
    yield Figure("entries a second, slot by slot, durable", count / took_s, "/s", reference=count / bare_s, beside=BARE)
    yield Figure("a slot of 10 meters", took_s / SLOTS * 1e3, "ms", reference=bare_s / SLOTS * 1e3, beside=BARE)


def _singles(took_s: list[float], bare_s: float) -> Iterator[Figure]:
    ordered = sorted(took_s)
    yield Figure("one durable append, mean", sum(took_s) / SINGLE * 1e3, "ms", reference=bare_s * 1e3, beside=BARE)
    yield Figure("one durable append, median", ordered[SINGLE // 2] * 1e3, "ms")
    yield Figure("one durable append, 99 %", ordered[SINGLE * 99 // 100] * 1e3, "ms")


def _verifying(folder: Path, size: int) -> Iterator[Figure]:
    for what, deep in (("bytes, chain, tree, heads", False), ("rules re-executed", True)):
        took = _seconds(lambda deep=deep: _verified(folder, deep))  # type: ignore[misc]
        yield Figure(f"entries verified a second, {what}", size / took, "/s")
    took = _seconds(lambda: Ledger.open(folder, readonly=True).close())
    yield Figure("entries a second, open and replay", size / took, "/s")


def _verified(folder: Path, deep: bool) -> None:
    found = verify(folder, deep=deep)
    if not found.ok:
        raise SystemExit(f"the ledger does not verify: {found}")


def _seconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began
