"""A hash-chained, Merkle-proved settlement ledger: entries, proofs, wallets, rules."""

from ledger.batch import batch_root, nonce, reading_leaf
from ledger.books import Books
from ledger.chain import Draft, Head
from ledger.core import Ledger
from ledger.errors import LedgerError
from ledger.intervals import SlotEnergy, slot_energy
from ledger.keys import KeyRing
from ledger.sealing import Receipt
from ledger.settle import settle_slot
from ledger.verify import Finding, Report

__all__ = [
    "Books",
    "Draft",
    "Finding",
    "Head",
    "KeyRing",
    "Ledger",
    "LedgerError",
    "Receipt",
    "Report",
    "SlotEnergy",
    "batch_root",
    "nonce",
    "reading_leaf",
    "settle_slot",
    "slot_energy",
]
