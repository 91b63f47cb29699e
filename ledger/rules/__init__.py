"""The rules ("smart contract"): which entries are allowed, and what they change. Pure; the only place money moves.

`changes(state, entry)` either refuses the entry (EntryRefused) or says which facts it sets. State is a flat mapping
from a tuple key to an immutable fact; a ledger's state is the fold of all its entries over the empty mapping, so
anyone who holds the entries can recompute it. `ID` is the hash of these modules and stands in every entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ledger.errors import EntryRefused
from ledger.rules import anchors, closing, disputes, info, market, settlement, tool
from ledger.rules.state import Changes, Posting, State, postings_of, refuse
from ledger.rules.tool import actor_message, check_signature, release_message

__all__ = [
    "FAMILY",
    "ID",
    "MOVES",
    "SIGNED",
    "Changes",
    "EntryRefused",
    "Posting",
    "State",
    "actor_message",
    "apply",
    "changes",
    "postings_of",
    "release_message",
]

_SOURCES = (
    *("../money.py", "__init__.py", "anchors.py", "closing.py", "disputes.py", "info.py", "market.py"),
    *("settlement.py", "state.py", "tool.py"),
)

Guard = Callable[[State, Mapping[str, Any]], Changes]

_GUARDS: dict[str, Guard] = {
    "genesis": tool.genesis,
    "registration": tool.registration,
    "key.rotate": tool.key_rotate,
    "tool.clock": tool.clock,
    "tool.rules": tool.rules,
    "node.join": tool.node_join,
    "node.leave": tool.node_leave,
    "metering": info.metering,
    "dispatch": info.dispatch,
    "price": settlement.price,
    "settlement": settlement.settlement,
    "clearing": closing.clearing,
    "residual": closing.residual,
    "reversal": settlement.reversal,
    "bid": market.bid,
    "match": market.match,
    "contract": market.contract,
    "dispute": disputes.dispute,
    "decision": disputes.decision,
    "reputation": disputes.reputation,
    "anchor": anchors.anchor,
}

FAMILY = {
    **dict.fromkeys(
        ("genesis", "registration", "key.rotate", "tool.clock", "tool.rules", "node.join", "node.leave"), "tool"
    ),
    **dict.fromkeys(("metering", "dispatch"), "info"),
    **dict.fromkeys(("price", "bid", "match", "contract", "settlement", "clearing", "residual", "reversal"), "txn"),
    **dict.fromkeys(("dispute", "decision", "reputation"), "txn"),
    "anchor": "all",
}
"""Entry types and their families."""

MOVES = frozenset({"settlement", "clearing", "residual", "reversal"})
"""Types whose body has postings: the only ones that change a wallet."""

SIGNED = frozenset({"registration", "key.rotate", "metering", "bid", "contract", "dispute"})
"""Types that need the signature of the actor named in `by`."""


def _source_hash() -> str:
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for name in _SOURCES:
        data = (here / name).read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


ID = f"r1:{_source_hash()}"
"""Names the rules: `r1:` and the SHA-256 of the sources of this package and of money.py."""


def changes(state: State, entry: Mapping[str, Any]) -> Changes:
    """The facts this entry sets in a ledger of this state. Raises EntryRefused, naming entry and reason."""
    kind = entry["type"]
    guard = _GUARDS.get(kind)
    if guard is None:
        refuse(entry, f"no entry type {kind!r}", "types: " + ", ".join(_GUARDS))
    if ("genesis",) not in state and kind != "genesis":
        refuse(entry, "a log begins with its genesis entry")
    if entry["rules"] != state.get(("rules",), entry["rules"]) and kind != "tool.rules":
        refuse(entry, "written under other rules than the entries before it", "announce them by a tool.rules entry")
    if kind in SIGNED or "sig" in entry:
        check_signature(state, entry)
    facts = guard(state, entry)
    if kind in MOVES:
        facts.update(_wallets(state, entry))
        facts.update(disputes.must_reverse(state, entry))
    return facts


def apply(state: State, entry: Mapping[str, Any]) -> dict[tuple[Any, ...], Any]:
    """The state after the entry: the definition that `changes` abbreviates."""
    return {**state, **changes(state, entry)}


def _wallets(state: State, entry: Mapping[str, Any]) -> Changes:
    """Double entry: money sums to zero in every entry; each account's balance moves by its postings."""
    facts: Changes = {}
    total = 0
    for account, micro, wh in postings_of(entry):
        total += micro
        key = ("wallet", account)
        before = facts.get(key) or state.get(key, _EMPTY)
        facts[key] = (before[0] + micro, before[1] + wh)
    if total:
        refuse(entry, f"postings sum to {total} micro, not 0")
    return facts


_EMPTY = (0, 0)
