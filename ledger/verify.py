"""Full re-verification of a log: believes only `entry.data`, rebuilds all else and compares.

Each finding names the layer that noticed: store (SQLite, schema), canon (bytes), chain (order, prev), rules (header and
guards re-executed), derived (columns, tables), tree (nodes), head (signed checkpoints, pins, heads held elsewhere).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ledger import canon, chunks, held, places, tlog
from ledger.chain import Chain, Row
from ledger.errors import CanonError, LedgerError
from ledger.findings import MAX_FINDINGS, Finding, Layer, Notice, Pass, Report
from ledger.policy import Policy
from ledger.quiet import without_collector
from ledger.rules import MOVES
from ledger.store import Store

__all__ = ["MAX_FINDINGS", "Finding", "Layer", "Report", "verify"]


def verify(
    folder: Path,
    *,
    deep: bool = True,
    heads: Sequence[str] = (),
    name: str = places.MAIN,
    policy: Policy | None = None,
    notice: Notice | None = None,
) -> Report:
    """Verify a log of a run or ledger folder, read only.

    deep : re-execute all rules and rebuild wallets and postings; otherwise bytes, chain, tree and heads only
    heads : signed notes kept elsewhere (witnesses, other logs, an earlier audit); the log must extend each
    policy : witnesses, a quorum of which must have cosigned a head; if not given, that of the ledger folder holds
        for the logs it lists
    notice : if deep, is told of every entry that holds; what it gathers counts if the report has no finding
    Raises LedgerUnreadable if there is no log or its file cannot be opened, PolicyError if the policy is none.
    """
    folder = places.ledger_folder(folder)
    listed = policy is None and places.policy(folder).exists()
    if listed:
        policy = Policy.load(places.policy(folder))
    store = Store(places.database(folder, name), readonly=True)
    walk = Pass(Chain(""), deep, notice)
    signed = cosigned = 0
    try:
        kept = held.pinned(folder, name, heads)  # before the snapshot: a pin is written after the entries below it
        store.begin_snapshot()
        kept += [(f"checkpoint {size}", size, text) for size, text in store.checkpoints()]
        _look(store, walk, {size for _, size in held.sizes(kept)})
        signed = held.signed_size(walk, kept)
        if policy is not None and not (listed and walk.chain.log not in policy.origins):
            cosigned = held.cosigned_size(walk, kept, policy)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        walk.report("store", "database", f"cannot be read: {error}")
    finally:
        store.close()
    log = walk.chain.log
    root = walk.tree.root().hex()
    return Report(not walk.findings, tuple(walk.findings), walk.tree.size, root, log, signed, cosigned)


def _look(store: Store, walk: Pass, wanted: set[int]) -> None:
    """All that the database itself can show: by several processes if it is large, else, or if that fails, in order."""
    size = store.size()
    if size >= 2 * chunks.CHUNK and chunks.workers() > 1:
        fast = Pass(Chain(store.meta().get("log", "")), walk.deep, walk.notice)
        with chunks.Sweep(store, size, fast.chain.log, chunks.workers()) as sweep:
            _faults(store, walk)
            good = not walk.deep or _executed(store, fast)
            swept = sweep.result() if good else None
        if swept is not None:
            walk.chain, walk.tree, walk.prev, walk.log_keys = fast.chain, swept.tree, swept.last, swept.keys
            walk.roots = {s: tlog.range_hash(store.node, 0, s) for s in wanted if 0 < s <= size}
            _compare_meta(store, walk)
            _compare_wallets(store, walk)
            return
    else:
        _faults(store, walk)
    _walk(store, walk, wanted)
    _compare(store, walk)


def _faults(store: Store, walk: Pass) -> None:
    for fault in store.faults():
        walk.report("store", "database", fault)


def _executed(store: Store, walk: Pass) -> bool:
    """Do all entries hold by the rules, and are the stored postings theirs? Bytes and tree are checked elsewhere."""
    stored = store.postings()
    chain = walk.chain
    try:
        with without_collector():
            for _, _, kind, _, leaf, data in store.rows():
                entry = canon.reread(data)
                chain.follow(entry, leaf)
                if walk.notice is not None:
                    walk.notice(chain.size - 1, leaf, entry)
                if kind in MOVES:
                    for n, leg in enumerate(entry["body"]["postings"]):
                        if next(stored, None) != (chain.size - 1, n, *leg):
                            return False
    except (LedgerError, ValueError, KeyError, TypeError):
        return False
    return next(stored, None) is None


def _walk(store: Store, walk: Pass, wanted: set[int]) -> None:
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
        walk.report("chain", "log", "has no entries: it was stopped while it was created (begin again), or emptied")


def _accept(walk: Pass, where: str, data: bytes) -> Row | None:
    """Re-execute one entry; after the first that does not hold only bytes and chain are looked at."""
    if walk.executing and walk.deep:
        try:
            entry = canon.loads(data)
            row = walk.chain.apply(data, entry)
        except LedgerError as error:
            layer: Layer = "canon" if isinstance(error, CanonError) else "rules"
            if _broken_link(walk, data):
                layer = "chain"
            walk.report(layer, where, str(error))
            walk.executing = False
            return None
        if walk.notice is not None:
            walk.notice(row.seq, row.leaf, entry)
        walk.log_keys = walk.chain.state[("log_keys",)]
        walk.postings += [(row.seq, n, *leg) for n, leg in enumerate(row.postings)]
        return row
    return _shallow(walk, where, data)


def _shallow(walk: Pass, where: str, data: bytes) -> Row | None:
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


def _broken_link(walk: Pass, data: bytes) -> bool:
    try:
        entry = canon.loads(data)
    except CanonError:
        return False
    return entry.get("prev") != walk.prev or entry.get("seq") != walk.tree.size


def _compare(store: Store, walk: Pass) -> None:
    """Tables that follow from the entries, rebuilt and compared."""
    if sorted(walk.nodes) != list(store.nodes()):
        walk.report("tree", "table node", "differs from the tree rebuilt from the entries")
    _compare_meta(store, walk)
    if not (walk.deep and walk.executing):
        return
    stored = list(store.postings())
    if walk.postings != stored:
        at = next((a for a, b in zip(walk.postings, stored, strict=False) if a != b), None)
        where = f"posting {at[1]} of entry {at[0]}" if at else "table posting"
        walk.report(
            "derived", where, f"{len(stored)} rows stored, {len(walk.postings)} follow from the entries; they differ"
        )
    _compare_wallets(store, walk)


def _compare_meta(store: Store, walk: Pass) -> None:
    if store.meta() != {"log": walk.chain.log, "product": "vpptwin"}:
        walk.report("derived", "table meta", "differs from what create writes")


def _compare_wallets(store: Store, walk: Pass) -> None:
    if not walk.deep:
        return
    rebuilt = {key[1]: value for key, value in walk.chain.state.items() if key[0] == "wallet"}
    kept = store.wallets()
    for account in sorted(rebuilt.keys() | kept.keys(), key=repr):
        if rebuilt.get(account) != kept.get(account):
            walk.report(
                "derived", f"wallet {account}", f"holds {kept.get(account)}, entries give {rebuilt.get(account)}"
            )
    if money := sum(micro for micro, _ in rebuilt.values()):
        walk.report("rules", "wallets", f"sum to {money} micro, not 0")
