"""A log's postings for accounting programs (hledger, beancount), as CSV, and its entries as JSON lines.

Money only: energy stands beside each posting as a comment. Closing balances are asserted, so that a pair of postings
changed alike is noticed too.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger import canon, places
from ledger.errors import LedgerError
from ledger.money import MICRO
from ledger.rules import MOVES
from ledger.store import Store, reading


def export(folder: Path, format: str, *, name: str = places.MAIN) -> Iterator[str]:
    """The log as lines (each with its newline) of `hledger`, `beancount`, `csv` or `jsonl`. Else LedgerError."""
    writer = _WRITERS.get(format)
    if writer is None:
        raise LedgerError(f"no export format {format!r}", where="export", mend=f"formats: {', '.join(_WRITERS)}")
    with reading(folder, name) as store:
        yield from writer(store)


def _jsonl(store: Store) -> Iterator[str]:
    for row in store.rows():
        yield row[5].decode() + "\n"


def _csv(store: Store) -> Iterator[str]:
    currency = _currency(store)
    yield _csv_line(["seq", "time", "type", "id", "account", "amount_micro", "currency", "energy_given_wh"])
    for entry in _moving(store):
        for account, micro, wh in entry["body"]["postings"]:
            head = [entry["seq"], _time(entry).isoformat(), entry["type"], entry["id"]]
            yield _csv_line([*head, account, micro, currency, wh])


def _hledger(store: Store) -> Iterator[str]:
    currency = _commodity(_currency(store))
    yield f"commodity 1.000000 {currency}\n"
    for account in store.wallets():
        yield f"account wallet:{account}\n"
    day = ""
    for entry in _moving(store):
        day = f"{_time(entry):%Y-%m-%d}"
        yield f"\n{day} {entry['type']} {entry['id']}  ; seq:{entry['seq']}\n"
        for account, micro, wh in entry["body"]["postings"]:
            yield f"    wallet:{account}  {_decimal(micro)} {currency}  ; wh:{wh}\n"
    if day:
        yield f"\n{day} closing balances\n"
    for account, (micro, _) in store.wallets().items():
        yield f"    wallet:{account}  {_decimal(0)} {currency} = {_decimal(micro)} {currency}\n"


def _beancount(store: Store) -> Iterator[str]:
    currency = _currency(store).upper()
    entries = _moving(store)
    first = next(entries, None)
    start = f"{_time(first):%Y-%m-%d}" if first else "1970-01-01"
    yield f'option "operating_currency" "{currency}"\n'
    for account in store.wallets():
        yield f"{start} open {_bean_account(account)} {currency}\n"
    last = start
    for entry in _moving(store):
        last = f"{_time(entry):%Y-%m-%d}"
        yield f'\n{last} * "{entry["type"]}" "{entry["id"]}"\n  seq: {entry["seq"]}\n'
        for account, micro, wh in entry["body"]["postings"]:
            yield f"  {_bean_account(account)}  {_decimal(micro)} {currency}\n    wh: {wh}\n"
    after = _next_day(last)
    yield "\n"
    for account, (micro, _) in store.wallets().items():
        yield f"{after} balance {_bean_account(account)}  {_decimal(micro)} ~ 0.000000 {currency}\n"


_WRITERS: dict[str, Callable[[Store], Iterator[str]]] = {
    "hledger": _hledger,
    "beancount": _beancount,
    "csv": _csv,
    "jsonl": _jsonl,
}


def _moving(store: Store) -> Iterator[dict[str, Any]]:
    for _, _, kind, _, _, data in store.rows():
        if kind in MOVES:
            yield canon.loads(data)


def _currency(store: Store) -> str:
    data = store.data(0)
    if data is None:
        raise LedgerError("the log is empty", where="export")
    currency: str = canon.loads(data)["body"]["currency"]
    return currency


def _commodity(currency: str) -> str:
    return currency if currency.isalpha() else f'"{currency}"'


def _bean_account(account: str) -> str:
    """`Assets:Wallet:P-home-1`; a name with other signs than letters, digits and - is written in hex."""
    plain = re.fullmatch(r"[A-Za-z0-9-]+", account)
    return "Assets:Wallet:" + (f"P-{account}" if plain else f"X-{account.encode().hex()}")


def _decimal(micro: int) -> str:
    return f"{'-' if micro < 0 else ''}{abs(micro) // MICRO}.{abs(micro) % MICRO:06d}"


def _time(entry: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(entry["ts"] // MICRO, UTC)


def _next_day(day: str) -> str:
    date = datetime.strptime(day, "%Y-%m-%d").toordinal() + 1
    return f"{datetime.fromordinal(date):%Y-%m-%d}"


def _csv_line(cells: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
