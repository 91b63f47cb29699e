"""Large logs checked by several processes: chunks of 65,536 entries, each a complete subtree, then the seams.

A chunk says only whether all of it holds, and what lies at its edges. Where anything does not, `verify` walks the log
from its beginning and names it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from ledger import canon, tlog
from ledger.chain import GENESIS_PREV
from ledger.errors import LedgerError
from ledger.quiet import without_collector
from ledger.store import Store

LEVEL = 16
CHUNK = 1 << LEVEL


class Edges(NamedTuple):
    """What a chunk that holds shows to its neighbours."""

    prev: str
    """`prev` of its first entry."""
    last: str
    """Leaf of its last entry, hex."""
    first_ts: int
    last_ts: int
    roots: list[bytes]
    """Roots of its complete subtrees, largest first; one if the chunk is full."""
    keys: list[tuple[int, str]]
    """(entries before, log key) of genesis and of rotations of the log's own key."""


class Swept(NamedTuple):
    """A log whose bytes, chain, columns and tree hold."""

    tree: tlog.Frontier
    last: str
    keys: tuple[tuple[int, str], ...]


def workers() -> int:
    """Processes that may run at once."""
    return len(os.sched_getaffinity(0))


class Part(NamedTuple):
    """What one process checks: of a log of `size` entries the chunks `first`, `first + step`, ..."""

    path: Path
    log: str
    size: int
    level: int
    first: int
    step: int


class Worker:
    """A process of its own that checks a part: started bare, so that it does not import the program that asks."""

    def __init__(self, part: Part) -> None:
        """Raises OSError or ValueError if no process can be started."""
        found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from ledger.chunks import main; main()", *map(str, part)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=found,
        )

    def result(self) -> list[Edges | None]:
        """What it found, chunk by chunk. Raises ValueError if it died."""
        out, _ = self._process.communicate()
        return _ANSWER.decode(out)

    def stop(self) -> None:
        """End it, whether it is done or not."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Sweep:
    """A log being checked by other processes; `result` waits for them. Use as a context manager."""

    def __init__(self, store: Store, size: int, log: str, processes: int) -> None:
        """store : in the snapshot that has `size` entries, or in a log that nobody else writes"""
        self._store, self._size = store, size
        self._count = -(-size // CHUNK)
        self._workers: list[Worker] = []
        step = min(processes, self._count)
        with suppress(OSError, ValueError):
            for first in range(step):
                self._workers.append(Worker(Part(store.path.absolute(), log, size, LEVEL, first, step)))

    def result(self) -> Swept | None:
        """None unless every entry is canonical, follows its predecessor, and all derived columns and nodes are right.

        SQLite's own check, the heads and the rules are looked at elsewhere. None too if a process died or could not
        be started.
        """
        found: list[Edges | None] = [None] * self._count
        try:
            for first, worker in enumerate(self._workers):
                found[first :: len(self._workers)] = worker.result()
        except ValueError:
            return None
        edges = [edge for edge in found if edge is not None]
        return None if len(edges) < self._count else _joined(self._store, self._size, edges)

    def __enter__(self) -> Sweep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()


def main() -> None:
    """What a worker does: its part in the arguments, its answer on standard output."""
    path, log, *numbers = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.json.encode(checked(Part(Path(path), log, *map(int, numbers)))))


def checked(part: Part) -> list[Edges | None]:
    """Check the chunks of a part."""
    length = 1 << part.level
    starts = range(part.first * length, part.size, part.step * length)
    with without_collector():
        return [chunk(part.path, part.log, start, min(start + length, part.size), part.level) for start in starts]


def chunk(path: Path, log: str, start: int, end: int, level: int) -> Edges | None:
    """Check entries [start, end); None if anything does not hold."""
    try:
        store = Store(path, readonly=True)
    except (LedgerError, sqlite3.Error):
        return None
    try:
        store.begin_snapshot()
        return _checked(store, log, start, end, level)
    except (sqlite3.Error, LedgerError, KeyError, TypeError, ValueError):
        return None
    finally:
        store.close()


def _checked(store: Store, log: str, start: int, end: int, level: int) -> Edges | None:
    sha256, load = hashlib.sha256, _entry
    leaves: list[bytes] = []
    keys: list[tuple[int, str]] = []
    prev = first_prev = ""
    stamp = first_ts = -1
    for expected, row in zip(range(start, end), store.rows(start), strict=False):
        seq, ts, kind, eid, leaf, data = row
        entry = load(data)
        digest = sha256(b"\x00" + data).digest()
        if digest != leaf or entry.seq != seq or entry.ts != ts or entry.type != kind or entry.id != eid:
            return None
        if entry.log != log or seq != expected or ts <= stamp:
            return None
        if entry.prev != prev:
            if prev:
                return None
            first_prev, first_ts = entry.prev, ts
        if seq == 0 or (kind == "key.rotate" and entry.by == log):
            keys.append((seq, str(entry.body["key" if seq else "log_key"])))
        leaves.append(digest)
        prev, stamp = digest.hex(), ts
    if len(leaves) != end - start:
        return None
    roots = _subtrees(store, start, leaves, level)
    return None if roots is None else Edges(first_prev, prev, first_ts, stamp, roots, keys)


def _entry(data: bytes) -> canon.Entry:
    """An entry whose bytes are canonical. Raises CanonError or msgspec.ValidationError (a ValueError) otherwise."""
    return canon.entry(data) or msgspec.convert(canon.loads(data), canon.Entry)


def _subtrees(store: Store, start: int, leaves: list[bytes], top: int) -> list[bytes] | None:
    """Roots of the complete subtrees over the leaves, largest first; None if a stored node differs."""
    sha256 = hashlib.sha256
    roots: list[bytes] = []
    hashes = leaves
    for level in range(top + 1):
        if level and store.hashes(level, start >> level, (start >> level) + len(hashes)) != hashes:
            return None
        if len(hashes) & 1:
            roots.append(hashes[-1])
        pairs = zip(hashes[::2], hashes[1::2], strict=False)
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return roots[::-1]


def _joined(store: Store, size: int, edges: Sequence[Edges]) -> Swept | None:
    """The seams between chunks, and the tree above them."""
    prev, stamp = GENESIS_PREV, 0
    for edge in edges:
        if edge.prev != prev or edge.first_ts <= stamp:
            return None
        prev, stamp = edge.last, edge.last_ts
    tree = tlog.Frontier()
    upper: list[tuple[int, int, bytes]] = []
    for edge in edges[: size // CHUNK]:
        upper += [(level + LEVEL, index, h) for level, index, h in tree.push(edge.roots[0])]
    if size % CHUNK:
        tree.edge += edges[-1].roots
    tree.size = size
    if any(store.hashes(level, index, index + 1) != [h] for level, index, h in upper):
        return None
    if store.node_count() != size - size.bit_count():
        return None
    return Swept(tree, prev, tuple(key for edge in edges for key in edge.keys))


_ANSWER = msgspec.json.Decoder(list[Edges | None])
