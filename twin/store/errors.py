"""What can go wrong with the store."""

from __future__ import annotations

from twin.errors import TwinError


class StoreError(TwinError):
    """The store cannot be opened, written or read as asked."""
