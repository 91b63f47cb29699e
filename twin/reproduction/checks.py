"""A claim of a paper and what came out here (docs/contract.md, reproduction)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Status = Literal["holds", "fails", "incomparable"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One claim. `incomparable` only where the paper's data are missing."""

    id: str
    claim: str
    kind: Literal["number", "relation", "reconstruction"]
    paper: Any
    ours: Any
    tolerance: float | None = None
    status: Status
    holds: bool | None
    note: str = ""


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """All claims of one paper, with the tables behind them."""

    paper: str
    mechanism: str
    checks: tuple[Check, ...]
    tables: dict[str, list[dict[str, Any]]] = {}


def judged(
    id: str,
    claim: str,
    holds: bool,
    *,
    paper: Any,
    ours: Any,
    kind: Literal["number", "relation", "reconstruction"] = "relation",
    tolerance: float | None = None,
    note: str = "",
) -> Check:
    """A claim that could be compared."""
    status: Status = "holds" if holds else "fails"
    return Check(
        id=id,
        claim=claim,
        kind=kind,
        paper=paper,
        ours=ours,
        tolerance=tolerance,
        status=status,
        holds=holds,
        note=note,
    )


def incomparable(id: str, claim: str, *, ours: Any, note: str) -> Check:
    """A claim whose data the paper keeps to itself."""
    return Check(id=id, claim=claim, kind="number", paper=None, ours=ours, status="incomparable", holds=None, note=note)


def words(value: Any) -> str:
    """What came out, for people: four digits, five entries of a list."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {words(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(words(one) for one in value[:5])
    return str(value)
