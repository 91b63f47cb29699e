"""Exports as accounting programs read them."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ledger import canon
from ledger.errors import LedgerError
from ledger.export import export


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("REQUIRE_ACCOUNTING") != "1":
        pytest.skip(f"{name} is not installed")
    assert found is not None, f"{name} is required"
    return found


def accepted(command: list[str], text: str, path: Path) -> bool:
    path.write_text(text)
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize(
    ("format", "command"), [("hledger", ["hledger", "check", "-s", "-f"]), ("beancount", ["bean-check"])]
)
def test_an_accounting_program_accepts_the_export_and_no_changed_micro(village, tmp_path, format, command):
    tool(command[0])
    text = "".join(export(village.folder, format))
    journal = tmp_path / "journal"
    assert accepted(command, text, journal)
    one = text.replace("0.024300", "0.024301", 1)
    both = one.replace("-0.024300", "-0.024301", 1)
    assert len({text, one, both}) == 3
    assert not accepted(command, one, journal), "one leg changed: unbalanced"
    assert not accepted(command, both, journal), "both legs changed: closing balances differ"


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
