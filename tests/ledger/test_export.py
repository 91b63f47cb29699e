"""Exports as accounting programs read them."""

from __future__ import annotations

import csv

import pytest

from ledger import canon
from ledger.errors import LedgerError
from ledger.export import export


def test_csv_sums_to_zero_and_has_every_posting(village):
    rows = list(csv.DictReader(export(village.folder, "csv")))
    assert len(rows) == 4 * (3 * 2 + 2)
    assert sum(int(row["amount_micro"]) for row in rows) == 0
    assert sum(int(row["energy_given_wh"]) for row in rows) == 0
    assert {row["currency"] for row in rows} == {"USD"}


def test_json_lines_are_the_entries_byte_for_byte(village):
    lines = list(export(village.folder, "jsonl"))
    assert [canon.loads(line[:-1].encode()) for line in lines] == village.ledger.entries()


def test_an_unknown_format_is_said(village):
    with pytest.raises(LedgerError, match="hledger, beancount, csv, jsonl"):
        list(export(village.folder, "xls"))
