"""The ledger: append entries, sign heads, prove. One writer; what `append` has returned is durable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar

from ledger import drafts, note, places, rules, start, tlog
from ledger.chain import Chain, Draft, Row, Signing
from ledger.errors import CanonError, ClockBehind, EntryRefused, LedgerBroken, LedgerError, NoteError
from ledger.flight import Flight
from ledger.keys import KeyRing
from ledger.port import LogStore
from ledger.reading import Reading
from ledger.sealing import CLOCK_LIMIT_US, Known, Receipt, sealed, sealed_each

Result = TypeVar("Result")
Sealing = Callable[[Chain, Sequence[Draft], Known, int, Signing], tuple[list[Row], list[Result]]]


class Ledger(Reading):
    """One log, open. Use as a context manager; `close` signs the head and releases the writer's lock."""

    def __init__(
        self,
        folder: Path,
        name: str,
        started: start.Started,
        *,
        keys: KeyRing | None,
        now_us: Callable[[], int] | None,
    ) -> None:
        """For `create` and `open` only."""
        self.folder, self.name = folder, name
        self._store: LogStore = started.store
        self._chain, self._lock_handle = started.chain, started.lock
        self._keys, self._now_us = keys, now_us
        self._failures: tuple[type[Exception], ...] = (*started.store.failures, OSError, UnicodeEncodeError)
        self._broken = ""
        self._busy = Lock()
        self._flight = Flight()

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        log: str,
        keys: KeyRing,
        now_us: Callable[[], int],
        genesis: Mapping[str, Any],
        name: str = places.MAIN,
    ) -> Ledger:
        """Begin a log named `log` (e.g. `homes/main`) in `folder`.

        genesis : currency, operator, grid; optional slot_s, residual_by (operator|pro_rata), residual_alarm_ppm,
            price_grace_us, facts (anything canonical: digests of site and data)
        Raises LedgerError if a log is here already, EntryRefused if the genesis is not allowed.
        """
        started = start.begun(folder, log, keys, name)
        ledger = cls(folder, name, started, keys=keys, now_us=now_us)
        vkey = keys.signer(log).verifier.vkey
        body = {**drafts.GENESIS_DEFAULTS, **genesis, "format": 1, "keys": keys.kind, "log_key": vkey}
        try:
            ledger.append("genesis", body, id="genesis", by=log)
        except LedgerError:
            ledger._release()
            raise
        if name == places.MAIN:
            places.write_whole(folder / "ledger.toml", f'product = "{start.PRODUCT}"\nlog = "{log}"\nkey = "{vkey}"\n')
        return ledger

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        keys: KeyRing | None = None,
        now_us: Callable[[], int] | None = None,
        readonly: bool = False,
        name: str = places.MAIN,
        heads: Sequence[note.Checkpoint] = (),
    ) -> Ledger:
        """Open a log: every entry is re-executed, and the head compared with the last signed ones.

        keys : those of the folder if not given; now_us : needed to append; heads : others that the log must have
        Raises LedgerTruncated or LedgerForked if the log lacks what it has signed, LedgerBroken if an entry does not
        hold, LedgerLocked if another process writes, LedgerUnreadable if there is no log.
        """
        folder = places.ledger_folder(folder)
        started = start.resumed(folder, keys, name, heads, readonly=readonly)
        ledger = cls(folder, name, started, keys=started.keys, now_us=now_us)
        chain = started.chain
        if not readonly and chain.state[("rules",)] != rules.ID and now_us is not None:
            change = {"before": chain.state[("rules",)], "after": rules.ID}
            ledger.append("tool.rules", change, id=f"rul:{chain.size}", by=chain.log)
        return ledger

    def append(self, type: str, body: Mapping[str, Any], *, id: str, by: str) -> Receipt:
        """Append one entry durably; see append_many."""
        return self.append_many([Draft(type, body, id, by)])[0]

    def append_many(self, drafts: Sequence[Draft | tuple[str, Mapping[str, Any], str, str]]) -> list[Receipt]:
        """Append all entries in one durable transaction, or none.

        An entry whose id exists with the same type, body and by gives its old receipt (`exists`).
        Raises IdConflict (id exists with another content), EntryRefused (a rule), CanonError (no canonical form);
        LedgerBroken if the store fails: then close, reopen and verify, never retry.
        """
        return self._append([Draft(*draft) for draft in drafts], sealed)

    def append_each(self, drafts: Sequence[Draft]) -> list[Receipt | EntryRefused | CanonError]:
        """Append those that are allowed in one durable transaction; the others' places hold the refusal."""
        return self._append(drafts, sealed_each)

    def append_later(self, drafts: Sequence[Draft]) -> tuple[list[Receipt | EntryRefused | CanonError], Future[None]]:
        """As append_each, but what is returned holds only once the future is done; it carries what the store raised.

        Beside the store's write the next batch may be made. Raises LedgerBroken if the write before it has failed.
        """
        with self._busy:
            rows, results = self._sealed(drafts, sealed_each)
            self._land()
            if not rows:
                return results, self._flight.empty()
            return results, self._flight.start(self._store, rows, self._chain.wallets(rows))

    def settle(self) -> None:
        """Wait until all that was appended is durable. Raises LedgerBroken if the store failed."""
        with self._busy:
            self._land()

    def checkpoint(self) -> str:
        """Sign the head, keep it in the database and as a pin outside; returns the note, with what it has gained.

        Raises ClockBehind while the clock is behind the entries.
        """
        with self._busy:
            self._land()
            if self._behind(self._ready()):
                raise ClockBehind(
                    "the clock is behind the last entry", where=self.log, mend="set it right, then append"
                )
            last = self._store.last_checkpoint()
            if last is not None and last[0] == self._chain.size:
                self._keep(*last)
                return last[1]
            head = note.Checkpoint(self.log, self._chain.size, self._chain.tree.root())
            signed = note.sign(head.text, self._log_signer())
            self._keep(head.size, signed)
            return signed

    def keep(self, signed: str) -> None:
        """Keep a head of this log that has gained cosignatures. Raises NoteError if it is none of this key and log."""
        head = note.Checkpoint.parse(note.Note.parse(signed).text)
        with self._busy:
            self._land()
            self._ready()
            own = note.Note.parse(signed).verify([self._log_signer().verifier])
            if not own or not 0 < head.size <= self._chain.size:
                raise NoteError(f"not a signed head of {self.log}", where="keep", mend="keep what checkpoint returned")
            if tlog.range_hash(self._store.node, 0, head.size) != head.root:
                raise NoteError(f"not the root at {head.size}", where="keep", mend="keep what checkpoint returned")
            self._keep(head.size, signed)

    def close(self) -> None:
        """Sign the head if it is not signed yet (and may be), and let go of the log."""
        try:
            with suppress(LedgerBroken):  # whoever waits for that batch is told
                self.settle()
            if self._lock_handle is not None and not self._broken and self._now_us is not None:
                last = self._store.last_checkpoint()
                if (last is None or last[0] < self._chain.size) and not self._behind(self._now_us()):
                    self.checkpoint()
        finally:
            self._release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, items: Sequence[Draft], seal: Sealing[Result]) -> list[Result]:
        with self._busy:
            self._land()
            rows, results = self._sealed(items, seal)
            if rows:
                try:
                    self._store.write(rows, self._chain.wallets(rows))
                except self._failures as error:
                    self._chain.rollback()
                    raise self._break(error) from error
                self._chain.commit()
            return results

    def _sealed(self, items: Sequence[Draft], seal: Sealing[Result]) -> tuple[list[Row], list[Result]]:
        """Rows to store, with the chain open behind them; without rows it is as before."""
        now = self._ready()
        try:
            known = self._store.find([item.id for item in items])
        except self._failures as error:
            raise LedgerError(f"ids: {error}", where="append", mend="ids are ASCII words") from error
        known.update(self._flight.known(items))
        with self._chain.batch():
            rows, results = seal(self._chain, items, known, now, self._sign)
        if not rows:
            self._chain.rollback()
        return rows, results

    def _land(self) -> None:
        """Wait for the batch on its way to the store: it is kept, or it and what was made after it is undone."""
        if not self._flight.waiting:
            return
        error = self._flight.land()
        if error is None:
            self._chain.commit()
            return
        while self._chain.open:
            self._chain.rollback()
        raise self._break(error) from error

    def _keep(self, size: int, signed: str) -> None:
        """In the database, then as the pin, which never goes back to a smaller head."""
        try:
            self._store.put_checkpoint(size, signed)
            last = self._store.last_checkpoint()
            if last is not None and last[0] == size:
                places.write_pin(places.pin(self.folder, self.name), signed)
        except self._failures as error:
            raise self._break(error) from error

    def _behind(self, now: int) -> bool:
        return bool(self._chain.ts - now > CLOCK_LIMIT_US or self._chain.state.get(("clock",), 0))

    def _ready(self) -> int:
        if self._broken:
            raise LedgerBroken(self._broken, where=self.log, mend="close, reopen and verify")
        if self._lock_handle is None or self._now_us is None:
            raise LedgerError("open for reading only", where=self.log, mend="open with now_us and without readonly")
        return self._now_us()

    def _break(self, error: BaseException) -> LedgerBroken:
        self._broken = f"the store failed: {error}"
        return LedgerBroken(self._broken, where=self.log, mend="close, reopen and verify; nothing is retried")

    def _sign(self, actor: str, message: bytes) -> Mapping[str, str] | None:
        if self._keys is None:
            return None
        signer = self._keys.signer(actor, self._chain.state.get(("generation", actor), 0))
        return signer.sign_field(message)

    def _log_signer(self) -> note.Signer:
        if self._keys is None:
            raise LedgerError("no keys", where=self.log, mend="open with the ledger's keys")
        return self._keys.signer(self.log, self._chain.state.get(("generation", self.log), 0))

    def _release(self) -> None:
        self._flight.close()
        self._store.close()
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None
