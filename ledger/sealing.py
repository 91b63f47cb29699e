"""Drafts become rows of a chain: those that stand already are found, a clock that fell behind is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from ledger.chain import Chain, Draft, Row, Signing, same_content
from ledger.errors import CanonError, EntryRefused

CLOCK_LIMIT_US = 5_000_000
"""A clock further behind the last entry than this blocks checkpoints."""

Known = Mapping[str, tuple[int, bytes, bytes]]
"""Id -> (seq, leaf, data) of entries that stand already."""


class Receipt(NamedTuple):
    """Where an entry stands. `exists`: it stood there before, with the same content."""

    seq: int
    leaf: str
    status: Literal["appended", "exists"]


def sealed(
    chain: Chain, items: Sequence[Draft], known: Known, now_us: int, signing: Signing
) -> tuple[list[Row], list[Receipt]]:
    """(rows to store, a receipt per draft). Raises EntryRefused or CanonError at the first that is not allowed."""
    rows = _clock_rows(chain, now_us, signing)
    said = len(rows)
    fresh: dict[str, Row] = {}
    receipts = [_one(chain, item, known, now_us, signing, rows, fresh) for item in items]
    return (rows if len(rows) > said else []), receipts


def sealed_each(
    chain: Chain, items: Sequence[Draft], known: Known, now_us: int, signing: Signing
) -> tuple[list[Row], list[Receipt | EntryRefused | CanonError]]:
    """As `sealed`, but one that is not allowed stands alone: its place in the results is the error."""
    rows = _clock_rows(chain, now_us, signing)
    said = len(rows)
    fresh: dict[str, Row] = {}
    results: list[Receipt | EntryRefused | CanonError] = []
    for item in items:
        try:
            results.append(_one(chain, item, known, now_us, signing, rows, fresh))
        except (EntryRefused, CanonError) as error:
            results.append(error)
    return (rows if len(rows) > said else []), results


def _one(
    chain: Chain, item: Draft, known: Known, now_us: int, signing: Signing, rows: list[Row], fresh: dict[str, Row]
) -> Receipt:
    if (old := fresh.get(item.id)) is not None:
        same_content(old.data, item)
        return Receipt(old.seq, old.leaf.hex(), "exists")
    if item.id in known:
        seq, leaf, data = known[item.id]
        same_content(data, item)
        return Receipt(seq, leaf.hex(), "exists")
    row = fresh[item.id] = chain.seal(item, now_us, signing)
    rows.append(row)
    return Receipt(row.seq, chain.prev, "appended")


def _clock_rows(chain: Chain, now_us: int, signing: Signing) -> list[Row]:
    """An entry that says the clock fell behind, or that it has caught up again."""
    said = bool(chain.state.get(("clock",), 0))
    cured = said and now_us > chain.ts
    if not cured and (said or chain.ts - now_us <= CLOCK_LIMIT_US):
        return []
    body = {"behind_us": 0 if cured else chain.ts - now_us}
    return [chain.seal(Draft("tool.clock", body, f"clk:{chain.size}", chain.log), now_us, signing)]
