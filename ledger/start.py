"""Starting from what is on disk: every entry re-executed, and the head held against those signed before."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ledger import canon, chunks, note, places, tlog
from ledger.chain import Chain
from ledger.errors import (
    LedgerBroken,
    LedgerError,
    LedgerForked,
    LedgerTruncated,
    LedgerUnreadable,
    NoteError,
)
from ledger.keys import KeyRing
from ledger.port import LogReader, LogStore
from ledger.quiet import without_collector
from ledger.store import SCHEMA_VERSION, Store

PRODUCT = "vpptwin"


class Started(NamedTuple):
    """A log on disk, ready to use: its store, its chain, the writer's lock (None if reading only), keys."""

    store: LogStore
    chain: Chain
    lock: int | None
    keys: KeyRing | None


def begun(folder: Path, log: str, keys: KeyRing, name: str) -> Started:
    """An empty log in a folder. Raises LedgerError if one is here already, LedgerUnreadable if the file is none."""
    path = places.database(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = places.lock(path.parent)
    store: Store | None = None
    try:
        keys.save(places.keys(folder))
        store = Store.create(path, {"log": log, "product": PRODUCT})
        if store.data(0) is not None:
            raise LedgerError("a log is here already", where=str(path), mend="open it, or choose another folder")
    except (LedgerError, sqlite3.Error) as error:
        _let_go(store, handle)
        if isinstance(error, LedgerError):
            raise
        raise LedgerUnreadable(f"database: {error}", where=str(path), mend="choose another folder") from error
    return Started(store, Chain(log), handle, keys)


def resumed(
    folder: Path, keys: KeyRing | None, name: str, held: Sequence[note.Checkpoint] = (), *, readonly: bool
) -> Started:
    """A log as it stands, re-executed; `held` are heads that it must have. Raises as Ledger.open."""
    path = places.database(folder, name)
    if not path.is_file():
        raise LedgerUnreadable("no log here", where=str(path), mend="name a run folder or a ledger folder")
    handle = None if readonly else places.lock(path.parent)
    store: Store | None = None
    try:
        store = Store(path, readonly=readonly)
        chain = replayed(store, folder, name, held)
        if not readonly:
            keys = keys or KeyRing.load(places.keys(folder))
            _own(chain, keys, path)
    except (LedgerError, sqlite3.Error) as error:
        _let_go(store, handle)
        if isinstance(error, LedgerError):
            raise
        if str(error).startswith("no such table"):
            raise places.unreadable(folder, name, str(error)) from error
        raise LedgerBroken(f"database: {error}", where=str(path), mend="run `ledger verify`") from error
    return Started(store, chain, handle, keys)


def _let_go(store: Store | None, handle: int | None) -> None:
    if store is not None:
        store.close()
    if handle is not None:
        os.close(handle)


def replayed(store: LogReader, folder: Path, name: str, held: Sequence[note.Checkpoint] = ()) -> Chain:
    """The chain of all stored entries, held against the last head it signed, the pinned one, and others."""
    if store.version() > SCHEMA_VERSION:
        raise LedgerUnreadable(
            f"schema {store.version()}, this program knows {SCHEMA_VERSION}", mend="use a newer vpptwin"
        )
    heads = [*_signed_heads(store, folder, name), *held]
    log, wanted = store.meta().get("log", ""), {head.size for head in heads}
    chain, roots = _at_once(store, log, wanted) or _in_order(store, name, log, wanted)
    if not chain.size:
        raise places.unreadable(folder, name, places.NO_GENESIS)
    for head in heads:
        if head.size > chain.size:
            raise LedgerTruncated(
                f"{chain.size} entries, but a head of {head.size} was signed or anchored",
                where=name,
                mend="restore the newer log",
            )
        if roots.get(head.size) != head.root:
            raise LedgerForked(
                f"another root at {head.size} than the one signed or anchored", where=name, mend="run `ledger verify`"
            )
    return chain


def _in_order(store: LogReader, name: str, log: str, wanted: set[int]) -> tuple[Chain, dict[int, bytes]]:
    """The chain of all entries, and its roots at these sizes. Raises LedgerBroken where an entry does not hold."""
    chain, roots = Chain(log), {}
    with without_collector():
        for seq, _, _, _, leaf, data in store.rows():
            try:
                row = chain.accept(data)
            except LedgerError as error:
                what = f"entry {seq} does not hold: {error}"
                raise LedgerBroken(what, where=name, mend="run `ledger verify`") from error
            if row.leaf != leaf or row.seq != seq:
                raise LedgerBroken(f"entry {seq} was changed", where=name, mend="run `ledger verify`")
            if chain.size in wanted:
                roots[chain.size] = chain.tree.root()
    return chain, roots


def _at_once(store: LogReader, log: str, wanted: set[int]) -> tuple[Chain, dict[int, bytes]] | None:
    """The same of a large log: the rules are executed here while other processes look at bytes, chain and tree.

    None if it is small, or if anything does not hold: entry by entry it is then said what.
    """
    size = store.size() if isinstance(store, Store) else 0
    if not isinstance(store, Store) or size < 2 * chunks.CHUNK or chunks.workers() < 2:
        return None
    chain = Chain(log)
    try:
        with chunks.Sweep(store, size, log, chunks.workers() - 1) as sweep, without_collector():
            for _, _, _, _, leaf, data in islice(store.rows(), size):
                chain.follow(canon.reread(data), leaf)
            swept = sweep.result()
    except (LedgerError, ValueError, KeyError, TypeError):
        return None
    if swept is None or chain.size != size:
        return None
    chain.tree = swept.tree
    return chain, {at: tlog.range_hash(store.node, 0, at) for at in wanted if 0 < at <= size}


def _signed_heads(store: LogReader, folder: Path, name: str) -> list[note.Checkpoint]:
    texts = [last[1]] if (last := store.last_checkpoint()) else []
    pin = places.pin(folder, name)
    if pin.exists():
        texts.append(pin.read_text())
    try:
        return [note.Checkpoint.parse(note.Note.parse(text).text) for text in texts]
    except NoteError as error:
        raise LedgerBroken(f"a kept head is damaged: {error}", where=name, mend="run `ledger verify`") from error


def _own(chain: Chain, keys: KeyRing, path: Path) -> None:
    """Raises LedgerError unless the ring holds the log's present key."""
    vkey = chain.state[("log_keys",)][-1][1]
    if keys.signer(chain.log, chain.state.get(("generation", chain.log), 0)).verifier.vkey != vkey:
        raise LedgerError(
            "these are not the log's keys", where=str(path), mend="open with the keys it was created with"
        )
