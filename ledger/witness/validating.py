"""A validating witness re-executes every rule: it keeps a copy of the log's chain, fed from the published tiles."""

from __future__ import annotations

from ledger.chain import Chain
from ledger.errors import LedgerError, ProofError
from ledger.note import Checkpoint
from ledger.tiles import Fetch, TileReader


class Validator:
    """The rules' state of one log up to the last head checked. A head that fails leaves it as it was."""

    def __init__(self, log: str, fetch: Fetch) -> None:
        """fetch : reads a path below the log's published prefix"""
        self._chain = Chain(log)
        self._fetch = fetch

    @property
    def size(self) -> int:
        """Entries executed so far."""
        return self._chain.size

    def check(self, head: Checkpoint) -> None:
        """Raises LedgerError if an entry up to this head breaks a rule, or if the entries give another root."""
        chain = self._chain
        if head.size < chain.size:
            raise ProofError(f"{head.size} entries, {chain.size} were executed", where="validate")
        chain.begin()
        try:
            for data in TileReader(self._fetch, head.size).entries(chain.size):
                chain.accept(data)
            if chain.tree.root() != head.root:
                raise ProofError(f"the published entries give another root at {head.size}", where="validate")
        except LedgerError:
            chain.rollback()
            raise
        chain.commit()
