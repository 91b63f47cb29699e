"""The hash chain, its Merkle tree and the rules' state, advanced entry by entry: the one definition of a valid log.

Writing, opening, replaying and verifying all go through `Chain`, so they cannot disagree about what is valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, NamedTuple

from ledger import canon, rules, tlog
from ledger.errors import EntryRefused, IdConflict

VERSION = 1
GENESIS_PREV = "0" * 64
_HEADER: dict[str, type] = {
    "body": dict,
    "by": str,
    "id": str,
    "log": str,
    "prev": str,
    "rules": str,
    "seq": int,
    "ts": int,
    "type": str,
    "v": int,
}
_VALUES = itemgetter(*_HEADER)
_TYPES = list(_HEADER.values())
_WORD = re.compile(r"[!-~]{1,128}").fullmatch


class Draft(NamedTuple):
    """What a caller wants to append; the ledger adds place, time, log and chain."""

    type: str
    body: Mapping[str, Any]
    id: str
    by: str
    sig: Mapping[str, str] | None = None


class Row(NamedTuple):
    """An entry as it is stored, with all that follows from it."""

    seq: int
    ts: int
    kind: str
    eid: str
    leaf: bytes
    data: bytes
    nodes: list[tuple[int, int, bytes]]
    postings: Sequence[Sequence[Any]]
    """(account, micro, Wh) of each leg."""


class Head(NamedTuple):
    """Number of entries and Merkle root (hex)."""

    size: int
    root: str


def same_content(data: bytes, draft: Draft) -> None:
    """Raises IdConflict unless the entry of these bytes has the draft's type, body and by."""
    old = canon.loads(data)
    if (old["type"], old["by"]) != (draft.type, draft.by) or canon.dumps(old["body"]) != canon.dumps(dict(draft.body)):
        what = f"id {draft.id!r} is entry {old['seq']} with another content"
        raise IdConflict(what, where="append", mend="an id names one content for ever")


class _Mark(NamedTuple):
    """Where a chain stood when `begin` was called, and the facts as they were before each entry since."""

    size: int
    ts: int
    prev: str
    tree: tlog.Frontier
    undo: list[tuple[Iterable[tuple[Any, ...]], list[Any]]]


Signing = Callable[[str, bytes], Mapping[str, str] | None]
"""(actor, message) -> sig, or None if there is no key of that actor."""


class Chain:
    """A log's head: next sequence number, last leaf, last time, tree edge and state. Never goes backwards."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.size = 0
        self.ts = 0
        self.prev = GENESIS_PREV
        self.tree = tlog.Frontier()
        self.state: dict[tuple[Any, ...], Any] = {}
        self._marks: list[_Mark] = []

    def seal(self, draft: Draft, now_us: int, signing: Signing) -> Row:
        """Make the next entry of a draft and apply it. Raises EntryRefused or CanonError, changing nothing."""
        entry: dict[str, Any] = {
            "body": draft.body if type(draft.body) is dict else dict(draft.body),
            "by": draft.by,
            "id": draft.id,
            "log": self.log,
            "prev": self.prev,
            "rules": rules.ID,
            "seq": self.size,
            "ts": max(self.ts + 1, now_us),
            "type": draft.type,
            "v": VERSION,
        }
        sig = draft.sig
        if sig is None and draft.type in rules.SIGNED:
            sig = signing(draft.by, rules.actor_message(entry))
        if sig is not None:
            entry["sig"] = dict(sig)
        return self.apply(*canon.sealed(entry))

    def accept(self, data: bytes) -> Row:
        """Apply the canonical bytes of the next entry. Raises CanonError or EntryRefused, changing nothing."""
        return self.apply(data, canon.loads(data))

    def follow(self, entry: dict[str, Any], leaf: bytes) -> None:
        """Execute an entry whose bytes, leaf and place in the tree are checked elsewhere (chunks): `tree` stays behind.

        Raises EntryRefused, changing nothing.
        """
        self._fits(entry)
        self.state.update(rules.changes(self.state, entry))
        self.size, self.ts, self.prev = self.size + 1, entry["ts"], leaf.hex()

    def apply(self, data: bytes, entry: dict[str, Any]) -> Row:
        """As `accept`, of bytes that canon.loads reads as this entry."""
        self._fits(entry)
        facts = rules.changes(self.state, entry)
        leaf = tlog.leaf_hash(data)
        if self._marks:
            self._marks[-1].undo.append((facts, [*map(self.state.get, facts)]))
        self.state.update(facts)
        nodes = self.tree.push(leaf)
        postings = entry["body"]["postings"] if entry["type"] in rules.MOVES else _NOTHING
        row = Row(self.size, entry["ts"], entry["type"], entry["id"], leaf, data, nodes, postings)
        self.size, self.ts, self.prev = self.size + 1, entry["ts"], leaf.hex()
        return row

    def head(self) -> Head:
        """Size and root now."""
        return Head(self.size, self.tree.root().hex())

    @property
    def open(self) -> int:
        """How often `begin` was called without a `commit` or `rollback` yet."""
        return len(self._marks)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """`begin`, and `rollback` unless what is done in it ends well; then `commit` or `rollback` is the caller's."""
        self.begin()
        good = False
        try:
            yield
            good = True
        finally:
            if not good:
                self.rollback()

    def begin(self) -> None:
        """From here on all may be undone by `rollback`, until `commit`. Several may be open, one after the other."""
        self._marks.append(_Mark(self.size, self.ts, self.prev, self.tree.copy(), []))

    def commit(self) -> None:
        """Keep what was done from the first `begin` still open to the one after it."""
        del self._marks[0]

    def rollback(self) -> None:
        """Return to where the last `begin` still open was called."""
        mark = self._marks.pop()
        self.size, self.ts, self.prev, self.tree = mark[:4]
        for facts, before in reversed(mark.undo):
            for key, value in zip(facts, before, strict=True):
                if value is None:  # no fact is
                    del self.state[key]
                else:
                    self.state[key] = value

    def wallets(self, rows: Iterable[Row]) -> dict[str, tuple[int, int]]:
        """account -> (micro, Wh) now, of the accounts that these rows changed."""
        accounts = {leg[0] for row in rows for leg in row.postings}
        return {account: self.state["wallet", account] for account in accounts}

    def _fits(self, entry: dict[str, Any]) -> None:
        """Header: fields, types, place, chain, time. The rules look at the rest."""
        try:
            values = _VALUES(entry)
        except KeyError:
            values = ()
        if not values or len(entry) != len(_TYPES) + ("sig" in entry):
            raise EntryRefused("not the fields of an entry", where=f"entry {self.size}", mend=", ".join(_HEADER))
        if [*map(type, values)] != _TYPES:
            wrong = next(name for name, kind in _HEADER.items() if type(entry[name]) is not kind)
            raise EntryRefused(f"{wrong} is not {_HEADER[wrong].__name__}", where=f"entry {self.size}")
        _, by, identity, log, prev, _, seq, ts, _, version = values
        if version != VERSION:
            rules_refuse(entry, f"entry version {version}, this program knows {VERSION}")
        if log != self.log:
            rules_refuse(entry, f"belongs to log {log!r}, this is {self.log!r}")
        if seq != self.size or prev != self.prev:
            rules_refuse(entry, f"does not follow entry {self.size - 1}: seq or prev differs")
        if ts <= self.ts:
            rules_refuse(entry, f"time {ts} is not after that of the entry before ({self.ts})")
        if not (_WORD(identity) and _WORD(by)):
            rules_refuse(entry, "id and by are 1 to 128 printable ASCII characters without space")


def rules_refuse(entry: Mapping[str, Any], why: str) -> None:
    """Refuse for a reason outside the rules' bodies."""
    raise EntryRefused(why, where=f"entry {entry['seq']} ({entry['type']} {entry['id']})")


_NOTHING: tuple[Any, ...] = ()
