"""What a verification finds, and what it gathers on its way through a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ledger import tlog
from ledger.chain import GENESIS_PREV, Chain

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
class Result:
    """What every verification says; `root` is hex, of what the entries themselves say."""

    ok: bool
    findings: tuple[Finding, ...]
    entries: int
    root: str
    log: str
    signed_size: int
    """Size of the largest head with a valid signature; entries after it are held by the chain alone."""


@dataclass(frozen=True, slots=True)
class Report(Result):
    """Result for one log."""

    cosigned_size: int = 0
    """Size of the largest head that a quorum of witnesses cosigned, if a policy names them."""


Notice = Callable[[int, bytes, Mapping[str, Any]], None]
"""(seq, leaf, entry) of each entry that holds, in order, from 0 on again if the log has to be walked a second time."""


@dataclass(slots=True)
class Pass:
    """What is gathered while all entries go by once."""

    chain: Chain
    deep: bool
    notice: Notice | None = None
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
