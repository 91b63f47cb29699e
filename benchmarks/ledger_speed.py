"""Figures of the ledger: appends per second, latency of one append, verification, proofs. Prints the machine's load.

Usage: python benchmarks/ledger_speed.py [--slots N] [--entries N]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger import Draft, KeyRing, Ledger, drafts, settle_slot, tlog
from ledger.verify import verify

DIGEST = "ab" * 32
SLOT_US = 900_000_000
HOMES = [f"home-{n}" for n in range(8)]


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Print how long a block took and how many of `count` it did per second."""
    before, cpu = time.perf_counter(), time.process_time()
    yield
    took, used = time.perf_counter() - before, time.process_time() - cpu
    print(
        f"{what:<58} {took:8.3f} s  {count / took:10,.0f} /s  (processor {used:.3f} s)  load {os.getloadavg()[0]:.2f}"
    )


def filled(folder: Path, slots: int) -> tuple[Ledger, list[Draft]]:
    """A ledger with prices and metering of `slots` slots, and the settlement entries still to be appended."""
    keys, now = KeyRing.derived(1), [0]
    genesis = {"currency": "USD", "operator": "vpp", "grid": "grid"}
    ledger = Ledger.create(folder, log="bench/main", keys=keys, now_us=lambda: now[0], genesis=genesis)
    parties = [*((home, "prosumer") for home in HOMES), ("vpp", "operator"), ("grid", "grid")]
    ledger.append_many([drafts.registration(w, r, meter=f"m-{w}", devices=[], keys=keys) for w, r in parties])
    rates = dict.fromkeys(HOMES, 190_123)
    made: list[Draft] = []
    for slot in range(slots):
        start = now[0] = (slot + 1) * SLOT_US
        batch = [
            drafts.price(
                "vpp", slot_us=start, slot_s=900, buy=rates, sell=rates, grid="grid", import_price=210_000,
                export_price=80_000, plan="plan", inputs=DIGEST, certificate=DIGEST,
            )
        ]  # fmt: skip
        batch += [
            drafts.metering(
                w, f"m-{w}", start_us=start, period_s=900, root=DIGEST, count=15, wh=17 * n - 31, quality="actual"
            )
            for n, (w, _) in enumerate(parties)
        ]
        ledger.append_many(batch)
        made += settle_slot(ledger.state, start)
    return ledger, made


def latencies(ledger: Ledger, count: int) -> None:
    """Single durable appends."""
    took = []
    for n in range(count):
        body = {"slot": n, "slot_s": 900, "plan": "plan", "digest": DIGEST}
        before = time.perf_counter()
        ledger.append("dispatch", body, id=f"dsp:{n}", by="vpp")
        took.append(time.perf_counter() - before)
    took.sort()
    p50, p99 = (took[int(count * q)] * 1e3 for q in (0.5, 0.99))
    print(f"{'one durable append':<58} p50 {p50:.3f} ms  p99 {p99:.3f} ms")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=3_000)
    parser.add_argument("--entries", type=int, default=200_000)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with timed("prices and signed metering, a slot a batch", arguments.slots * 11):
            ledger, made = filled(folder, arguments.slots)
        with timed("settlements under full rules, durable, batches of 256", len(made)):
            for start in range(0, len(made), 256):
                ledger.append_many(made[start : start + 256])
        latencies(ledger, 2_000)
        size = ledger.head().size
        more = max(0, arguments.entries - size)
        body = {"slot": 0, "slot_s": 900, "plan": "plan", "digest": DIGEST}
        with timed("dispatch entries, durable, batches of 256", max(1, more)):
            for start in range(0, more, 256):
                ledger.append_many(
                    [("dispatch", body, f"more:{n}", "vpp") for n in range(start, min(more, start + 256))]
                )
        ledger.checkpoint()
        size, root = ledger.head()
        with timed("inclusion proofs made and verified", 8_000):
            for n in range(8_000):
                seq = n * 7919 % size
                proof = ledger.inclusion(seq)
                assert tlog.verify_inclusion(ledger._store.node(0, seq), seq, size, proof, bytes.fromhex(root))
        ledger.close()
        with timed(f"verify of {size} entries, bytes, chain, tree, heads", size):
            assert verify(folder, deep=False).ok
        with timed(f"verify of {size} entries, deep (rules re-executed)", size):
            assert verify(folder).ok
        with timed(f"open with replay of {size} entries", size):
            Ledger.open(folder, readonly=True).close()


if __name__ == "__main__":
    main()
