"""What a log asks of the place where it is kept: the port behind which SQLite sits and PostgreSQL may follow.

Only entries' bytes are authoritative: whatever else a store keeps must follow from them, and `verify` rebuilds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from ledger.chain import Row

StoredEntry = tuple[int, int, str, str, bytes, bytes]
"""(seq, ts, kind, id, leaf, data)."""


class LogReader(Protocol):
    """A log as it lies in its store. After `begin_snapshot` all reads see one state."""

    failures: tuple[type[Exception], ...]
    """What the engine raises when it cannot do what it was asked; everything else is a fault of the program."""

    def begin_snapshot(self) -> None: ...

    def version(self) -> int:
        """Schema version; a newer one is refused."""
        ...

    def meta(self) -> dict[str, str]:
        """Facts written when the log began: product, log."""
        ...

    def rows(self, start: int = 0) -> Iterator[StoredEntry]:
        """Entries from `start` on, in order."""
        ...

    def data(self, seq: int) -> bytes | None:
        """Canonical bytes of one entry; None beyond the end."""
        ...

    def find(self, ids: Sequence[str]) -> dict[str, tuple[int, bytes, bytes]]:
        """Entries of these ids: id -> (seq, leaf, data)."""
        ...

    def node(self, level: int, index: int) -> bytes:
        """Hash of a complete subtree. Raises KeyError beyond the end."""
        ...

    def proof_nodes(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Hashes of complete subtrees (level, index), in this order. Raises KeyError beyond the end."""
        ...

    def wallets(self) -> dict[str, tuple[int, int]]:
        """account -> (micro, Wh)."""
        ...

    def checkpoints(self) -> list[tuple[int, str]]:
        """Signed heads (size, note), oldest first."""
        ...

    def last_checkpoint(self) -> tuple[int, str] | None: ...

    def close(self) -> None: ...


class LogStore(LogReader, Protocol):
    """The one writer's side. What `write` has returned from survives kill -9 and loss of power."""

    def write(self, rows: Sequence[Row], wallets: Mapping[str, tuple[int, int]]) -> None:
        """Entries and all that follows from them in one durable transaction, or nothing of it."""
        ...

    def write_beside(self, rows: Sequence[Row], wallets: Mapping[str, tuple[int, int]]) -> None:
        """As `write`, for a thread beside one that computes: as few switches between them as the engine allows."""
        ...

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head, durably."""
        ...
