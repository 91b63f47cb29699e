"""Proofs to take away, and the auditor script that checks them with nothing of ours."""

from __future__ import annotations

import ast
import copy
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import ledger.auditor
from ledger.auditor import AuditError, audit
from ledger.errors import LedgerError
from ledger.prove import bundle

T0, SLOT_US = 1_473_058_800_000_000, 900_000_000
DAY = T0, T0 + 96 * SLOT_US


@pytest.fixture
def bill(village):
    """home-1's bundle over four slots, one of them settled anew after late readings."""
    village.meter(1, {"home-1": 400, "home-2": -899, "vpp": 250, "grid": 250}, rev=1)
    village.settle(1)
    village.ledger.checkpoint()
    return bundle(village.folder, "home-1", *DAY)


def test_the_auditor_agrees_with_the_wallet(village, bill):
    result = audit(bill, village.ledger.state[("log_keys",)][-1][1])
    assert (result["total_micro"], result["total_wh"]) == village.ledger.wallets()["home-1"]
    assert [line["type"] for line in result["lines"]].count("reversal") == 1
    assert len([line for line in result["lines"] if line["type"] == "settlement"]) == 5


def test_the_script_runs_alone(bill, tmp_path):
    """Copied away, isolated from our packages, it still says that the bill holds; and 1 if a number was changed."""
    script, file = tmp_path / "auditor.py", tmp_path / "bill.json"
    script.write_bytes(Path(ledger.auditor.__file__).read_bytes())
    imported = {node.module for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name and name.startswith(("ledger", "twin", "devices", "controller"))]
    for text, status in ((json.dumps(bill), 0), (json.dumps(bill).replace("24300", "24301"), 1), ("{}", 1), ("[", 3)):
        file.write_text(text)
        done = subprocess.run([sys.executable, str(script), str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr


def test_every_change_of_a_bundle_is_noticed(village, bill):
    key = village.ledger.state[("log_keys",)][-1][1]

    def refused(**changes):
        with pytest.raises((AuditError, ValueError)):
            audit({**copy.deepcopy(bill), **changes}, key)

    for n in range(len(bill["entries"])):
        items = copy.deepcopy(bill["entries"])
        items[n]["entry"] = items[n]["entry"].replace('"ts":1', '"ts":2', 1)
        refused(entries=items)
        items = copy.deepcopy(bill["entries"])
        items[n]["seq"] += 1
        refused(entries=items)
    refused(entries=[item for item in bill["entries"] if '"type":"price"' not in item["entry"]])
    refused(entries=[item for item in bill["entries"] if '"type":"reversal"' not in item["entry"]])
    refused(checkpoint=bill["checkpoint"].replace("homes/main\n", "homes/mayn\n", 1))
    refused(party="home-2")
    with pytest.raises(AuditError, match="key"):
        audit(bill, village.keys.signer("homes/other").verifier.vkey)


def test_without_a_signed_head_or_a_line_nothing_is_proved(make_village):
    village = make_village().slots(1)
    with pytest.raises(LedgerError, match="no head is signed"):
        bundle(village.folder, "home-1", *DAY)
    village.ledger.checkpoint()
    with pytest.raises(LedgerError, match="nothing of home-1"):
        bundle(village.folder, "home-1", 0, 1)


def test_onchain_rate_counts_what_the_rules_settled(make_village):
    village = make_village().slots(3)
    assert village.ledger.onchain_rate(*DAY) == 1
    village.now += SLOT_US
    village.meter(5)
    assert village.ledger.onchain_rate(*DAY) == Fraction(9, 12), "a slot without a price is not settled"
    assert village.ledger.onchain_rate(0, 1) == 0
    village.meter(0, {"home-1": 1}, rev=1)
    assert village.ledger.onchain_rate(*DAY) == Fraction(8, 12), "late readings ask to be settled anew"
