"""What may be read of an open log: entries, proofs, balances; all of it durable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ledger import canon, rules, start, tlog
from ledger.chain import Chain, Head
from ledger.errors import LedgerError, ProofError
from ledger.port import LogReader
from ledger.rate import onchain_rate
from ledger.sealing import Receipt


class Reading(ABC):
    """The half of a ledger that changes nothing. `settle` waits for what is on its way to the store."""

    folder: Path
    name: str
    _store: LogReader
    _chain: Chain

    @abstractmethod
    def settle(self) -> None:
        """Wait until all that was appended is durable."""

    @property
    def log(self) -> str:
        """The log's name (origin of its checkpoints)."""
        return self._chain.log

    @property
    def state(self) -> rules.State:
        """The rules' facts at the head, read only."""
        return MappingProxyType(self._chain.state)

    def head(self) -> Head:
        """Size and root now."""
        self.settle()
        return self._chain.head()

    def inclusion(self, seq: int, size: int | None = None) -> list[bytes]:
        """Audit path of entry `seq` in the tree of `size` entries (now, if not given). Raises ProofError."""
        return tlog.inclusion_at_once(self._store.proof_nodes, seq, self._within(size))

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Proof that the head at `second` (now) extends the one at `first`. Raises ProofError."""
        return tlog.consistency(self._store.node, first, self._within(second))

    def data(self, seq: int) -> bytes:
        """Canonical bytes of one entry. Raises LedgerError if there is none."""
        self.settle()
        data = self._store.data(seq)
        if data is None:
            raise LedgerError(f"no entry {seq}", where=self.log, mend=f"there are {self._chain.size}")
        return data

    def entry(self, seq: int) -> dict[str, Any]:
        """One entry. Raises LedgerError if there is none."""
        return canon.loads(self.data(seq))

    def find(self, id: str) -> Receipt | None:
        """Where the entry of this id stands; None if there is none."""
        self.settle()
        found = self._store.find([id]).get(id)
        return None if found is None else Receipt(found[0], found[1].hex(), "exists")

    def entries(self, start: int = 0) -> list[dict[str, Any]]:
        """Entries from `start` on."""
        self.settle()
        return [canon.loads(row[5]) for row in self._store.rows(start)]

    def replay(self) -> Head:
        """Re-execute all entries from nothing; returns the head found. Raises LedgerBroken where one does not hold."""
        self.settle()
        return start.replayed(self._store, self.folder, self.name).head()

    def onchain_rate(self, since_us: int, until_us: int) -> Fraction:
        """Automatically settled requests / all transaction requests, over slots starting in [since, until)."""
        return onchain_rate([self._chain.state], since_us, until_us)

    def wallets(self) -> dict[str, tuple[int, int]]:
        """account -> (balance in micro-currency, Wh given), from the rules' state."""
        self.settle()
        return {key[1]: value for key, value in sorted(self._chain.state.items(), key=repr) if key[0] == "wallet"}

    def _within(self, size: int | None) -> int:
        self.settle()
        if size is not None and size > self._chain.size:
            raise ProofError(f"size {size}, the log has {self._chain.size}", where=self.log)
        return self._chain.size if size is None else size
