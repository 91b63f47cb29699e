"""Full re-verification of a log: believes only `entry.data`, rebuilds all else and compares.

Each finding names the layer that noticed: store (SQLite, schema), canon (bytes), chain (order, prev), rules (header and
guards re-executed), derived (columns, tables), tree (nodes), head (signed checkpoints, pins, heads held elsewhere).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ledger import canon, note, places, tlog
from ledger.chain import GENESIS_PREV, Chain, Row
from ledger.errors import CanonError, LedgerError, NoteError
from ledger.policy import NONE, Policy
from ledger.store import Store

Layer = Literal["store", "canon", "chain", "rules", "derived", "tree", "head", "witness", "across", "readings"]
MAX_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold, where, and which layer noticed."""

    layer: Layer
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} [{self.layer}]"


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a verification; `root` is hex, of what the entries themselves say."""

    ok: bool
    findings: tuple[Finding, ...]
    entries: int
    root: str
    log: str
    signed_size: int
    """Size of the largest head with a valid signature; entries after it are held by the chain alone."""
    cosigned_size: int = 0
    """Size of the largest head that a quorum of witnesses cosigned, if a policy names them."""


@dataclass(slots=True)
class _Pass:
    """What is gathered while all entries go by once."""

    chain: Chain
    deep: bool
    findings: list[Finding] = field(default_factory=list)
    tree: tlog.Frontier = field(default_factory=tlog.Frontier)
    prev: str = GENESIS_PREV
    roots: dict[int, bytes] = field(default_factory=dict)
    nodes: list[tuple[int, int, bytes]] = field(default_factory=list)
    postings: list[tuple[int, int, str, int, int]] = field(default_factory=list)
    executing: bool = True
    log_keys: tuple[tuple[int, str], ...] = ()

    def report(self, layer: Layer, where: str, what: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(layer, where, what))


def verify(
    folder: Path,
    *,
    deep: bool = True,
    heads: Sequence[str] = (),
    name: str = places.MAIN,
    policy: Policy | None = None,
) -> Report:
    """Verify a log of a run or ledger folder, read only.

    deep : re-execute all rules and rebuild wallets and postings; otherwise bytes, chain, tree and heads only
    heads : signed notes kept elsewhere (witnesses, other logs, an earlier audit); the log must extend each
    policy : witnesses, a quorum of which must have cosigned a head; if not given, that of the ledger folder holds
        for the logs it lists
    Raises LedgerUnreadable if there is no log or its file cannot be opened, PolicyError if the policy is none.
    """
    folder = places.ledger_folder(folder)
    listed = policy is None and places.policy(folder).exists()
    if listed:
        policy = Policy.load(places.policy(folder))
    store = Store(places.database(folder, name), readonly=True)
    walk = _Pass(Chain(""), deep)
    signed = cosigned = 0
    try:
        kept = _pinned(folder, name, heads)  # before the snapshot: a pin is written after the entries below it
        store.begin_snapshot()
        for fault in store.faults():
            walk.report("store", "database", fault)
        kept += [(f"checkpoint {size}", size, text) for size, text in store.checkpoints()]
        _walk(store, walk, {size for _, size in _sizes(kept)})
        _compare(store, walk)
        signed = _heads(walk, kept)
        if policy is not None and not (listed and walk.chain.log not in policy.origins):
            cosigned = _cosigned(walk, kept, policy)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        walk.report("store", "database", f"cannot be read: {error}")
    finally:
        store.close()
    log = walk.chain.log
    root = walk.tree.root().hex()
    return Report(not walk.findings, tuple(walk.findings), walk.tree.size, root, log, signed, cosigned)


def _walk(store: Store, walk: _Pass, wanted: set[int]) -> None:
    walk.chain.log = store.meta().get("log", "")
    for seq, ts, kind, eid, leaf, data in store.rows():
        where = f"entry {walk.tree.size}" + (f" ({kind} {eid})" if isinstance(eid, str) else "")
        if seq != walk.tree.size:
            walk.report("chain", where, f"is missing: the next stored entry is {seq}")
            walk.executing = False
        if not isinstance(data, bytes) or not isinstance(leaf, bytes):
            walk.report("store", where, "data or leaf are not bytes")
            break
        digest = tlog.leaf_hash(data)
        if digest != leaf:
            walk.report(
                "derived", where, "its bytes do not have the leaf hash stored with it: entry or hash was changed"
            )
        row = _accept(walk, where, data)
        if row is not None and (ts, kind, eid) != (row.ts, row.kind, row.eid):
            walk.report("derived", where, "columns ts, kind or eid differ from the entry")
        walk.nodes += walk.tree.push(digest)
        walk.prev = digest.hex()
        if walk.tree.size in wanted:
            walk.roots[walk.tree.size] = walk.tree.root()
    if not walk.tree.size:
        walk.report("chain", "log", "has no entries")


def _accept(walk: _Pass, where: str, data: bytes) -> Row | None:
    """Re-execute one entry; after the first that does not hold only bytes and chain are looked at."""
    if walk.executing and walk.deep:
        try:
            row = walk.chain.accept(data)
        except LedgerError as error:
            layer: Layer = "canon" if isinstance(error, CanonError) else "rules"
            if _broken_link(walk, data):
                layer = "chain"
            walk.report(layer, where, str(error))
            walk.executing = False
            return None
        walk.log_keys = walk.chain.state[("log_keys",)]
        walk.postings += [(row.seq, n, *leg) for n, leg in enumerate(row.postings)]
        return row
    return _shallow(walk, where, data)


def _shallow(walk: _Pass, where: str, data: bytes) -> Row | None:
    try:
        entry = canon.loads(data)
    except CanonError as error:
        walk.report("canon", where, str(error))
        return None
    if entry.get("prev") != walk.prev or entry.get("seq") != walk.tree.size:
        walk.report("chain", where, f"does not follow entry {walk.tree.size - 1}: seq or prev differs")
    body = entry.get("body")
    key = body.get("key", body.get("log_key", "")) if isinstance(body, dict) else ""
    if walk.tree.size == 0 or (entry.get("type") == "key.rotate" and entry.get("by") == entry.get("log")):
        walk.log_keys = (*walk.log_keys, (walk.tree.size, str(key)))
    if not all(isinstance(entry.get(name), kind) for name, kind in (("ts", int), ("type", str), ("id", str))):
        return None
    return Row(walk.tree.size, entry["ts"], entry["type"], entry["id"], b"", data, [], [])


def _broken_link(walk: _Pass, data: bytes) -> bool:
    try:
        entry = canon.loads(data)
    except CanonError:
        return False
    return entry.get("prev") != walk.prev or entry.get("seq") != walk.tree.size


def _compare(store: Store, walk: _Pass) -> None:
    """Tables that follow from the entries, rebuilt and compared."""
    if sorted(walk.nodes) != list(store.nodes()):
        walk.report("tree", "table node", "differs from the tree rebuilt from the entries")
    if store.meta() != {"log": walk.chain.log, "product": "vpptwin"}:
        walk.report("derived", "table meta", "differs from what create writes")
    if not (walk.deep and walk.executing):
        return
    stored = list(store.postings())
    if walk.postings != stored:
        at = next((a for a, b in zip(walk.postings, stored, strict=False) if a != b), None)
        where = f"posting {at[1]} of entry {at[0]}" if at else "table posting"
        walk.report(
            "derived", where, f"{len(stored)} rows stored, {len(walk.postings)} follow from the entries; they differ"
        )
    rebuilt = {key[1]: value for key, value in walk.chain.state.items() if key[0] == "wallet"}
    kept = store.wallets()
    for account in sorted(rebuilt.keys() | kept.keys()):
        if rebuilt.get(account) != kept.get(account):
            walk.report(
                "derived", f"wallet {account}", f"holds {kept.get(account)}, entries give {rebuilt.get(account)}"
            )
    if money := sum(micro for micro, _ in rebuilt.values()):
        walk.report("rules", "wallets", f"sum to {money} micro, not 0")


def _pinned(folder: Path, name: str, heads: Sequence[str]) -> list[tuple[str, int | None, str]]:
    """(where, None, note) of the heads kept outside the database."""
    pin = places.pin(folder, name)
    kept: list[tuple[str, int | None, str]] = [("pin", None, pin.read_text(errors="replace"))] if pin.exists() else []
    return kept + [(f"head {n} held elsewhere", None, text) for n, text in enumerate(heads)]


def _sizes(kept: Sequence[tuple[str, int | None, str]]) -> list[tuple[str, int]]:
    sizes = []
    for where, _, text in kept:
        try:
            sizes.append((where, note.Checkpoint.parse(note.Note.parse(text).text).size))
        except NoteError:
            continue  # reported by _heads
    return sizes


def _heads(walk: _Pass, kept: Sequence[tuple[str, int | None, str]]) -> int:
    """Each signed head must be by the log's key of its time, and the log must have that root at that size."""
    largest = 0
    for where, size, text in kept:
        try:
            head = _signed(walk, text)
        except NoteError as error:
            walk.report("head", where, str(error))
            continue
        if size is not None and size != head.size:
            walk.report("head", where, f"row says size {size}, note says {head.size}")
        elif head.origin != walk.chain.log:
            walk.report("head", where, f"is of log {head.origin!r}, this is {walk.chain.log!r}")
        elif head.size > walk.tree.size:
            walk.report(
                "head", where, f"signed at {head.size} entries, only {walk.tree.size} are here: the log was cut"
            )
        elif walk.roots.get(head.size) != head.root:
            walk.report(
                "head", where, f"another root was signed at {head.size} entries: an entry up to there was changed"
            )
        else:
            largest = max(largest, head.size)
    return largest


def _cosigned(walk: _Pass, kept: Sequence[tuple[str, int | None, str]], policy: Policy) -> int:
    """Size of the largest head of this log that the policy accepts."""
    largest, why = 0, "there is no signed head"
    for where, _, text in kept:
        try:
            policy.cosigned(text)
        except NoteError as error:
            walk.report("witness", where, str(error))
            continue
        try:
            head = policy.accept(text)
        except NoteError as error:
            why = str(error)
            continue
        if walk.roots.get(head.size) == head.root and head.origin == walk.chain.log:
            largest = max(largest, head.size)
    if not largest and policy.quorum != NONE:
        walk.report("witness", "heads", f"none is cosigned by the quorum of the policy: {why}")
    return largest


def _signed(walk: _Pass, text: str) -> note.Checkpoint:
    parsed = note.Note.parse(text)
    head = note.Checkpoint.parse(parsed.text)
    held = [vkey for since, vkey in walk.log_keys if since < head.size]
    if not held or not parsed.verify([note.Verifier.parse(held[-1])]):
        raise NoteError("not signed by the log's key of that time (genesis, key.rotate)", where="checkpoint")
    return head
