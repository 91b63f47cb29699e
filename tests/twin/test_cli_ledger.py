"""`vpptwin ledger`: every verb on a real run, or on a ledger of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ledger import show
from twin.cli.app import app

Say = Callable[..., str]


@pytest.fixture
def say() -> Say:
    """`say("rate", run, status=0)` is what the verb printed to stdout."""

    def call(*words: object, status: int = 0, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, ["ledger", *map(str, words)], input=stdin, catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result.stdout

    return call


@pytest.fixture
def day(short_run: Path) -> tuple[object, ...]:
    return (short_run, "--party", "home-1", "--day", "2016-09-05")


def test_a_bill_is_a_page_and_json_that_adds_up(say: Say, day: tuple[object, ...], tmp_path: Path) -> None:
    found = json.loads(say("bill", *day, "--json"))
    assert len(found["lines"]) == 8
    assert found["since"] == "2016-09-05T00:00:00-07:00", "a day of the site's zone"
    for line in found["lines"]:
        taken0, taken1, given0, given1 = line["registers"]
        assert line["wh"] == (given1 - given0) - (taken1 - taken0)
        assert abs(line["wh"] * line["price_micro"] - line["micro"] * 1000) <= 500
    assert sum(line["micro"] for line in found["lines"]) == found["total_micro"]
    say("bill", *day, "--out", tmp_path)
    assert json.loads((tmp_path / "bill-home-1-2016-09-05.json").read_text()) == found
    page = (tmp_path / "bill-home-1-2016-09-05.html").read_text()
    assert f"home-1 pays {found['total'].lstrip('-')}" in page


def test_a_household_checks_its_bill_with_the_script_alone(say: Say, day: tuple[object, ...], tmp_path: Path) -> None:
    proof, script = tmp_path / "proof.json", tmp_path / "auditor.py"
    say("prove", *day, "--out", proof)
    script.write_text(say("auditor"))
    key = next(one["body"]["log_key"] for one in show.entries(Path(str(day[0])), type="genesis", name="main"))
    done = subprocess.run(
        [sys.executable, "-I", script, proof, "--key", key], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "holds: home-1" in done.stdout
    assert json.loads(say("verify-proof", proof, "--key", key, "--json"))["total_wh"]
    proof.write_text(proof.read_text().replace('\\"quality\\":\\"actual\\"', '\\"quality\\":\\"Actual\\"', 1))
    say("verify-proof", proof, "--key", key, status=1)


def test_a_receipt_of_one_entry_is_checked_by_key_and_bytes(say: Say, short_run: Path, tmp_path: Path) -> None:
    lines = say("export", short_run, "--format", "jsonl", "--log", "main").splitlines()
    receipt, entry = tmp_path / "r.txt", tmp_path / "entry.json"
    say("prove", short_run, "--seq", 9, "--out", receipt)
    key = json.loads(lines[0])["body"]["log_key"]
    entry.write_text(lines[9])
    assert json.loads(say("verify-proof", receipt, "--entry", entry, "--key", key, "--json"))["size"] == len(lines)
    entry.write_text(lines[8])
    say("verify-proof", receipt, "--entry", entry, "--key", key, status=1)


def test_rate_replay_and_consistency(say: Say, short_run: Path, tmp_path: Path) -> None:
    assert json.loads(say("rate", short_run, "--json"))["rate"] == 1.0
    assert say("rate", short_run).startswith("on-chain rate 100.00% (all slots): of the metered slots")
    heads = json.loads(say("replay", short_run, "--json"))
    assert set(heads) == {"two-homes/main", "two-homes/party/home-1", "two-homes/party/home-2"}
    main = heads["two-homes/main"]
    pin = short_run / "ledger" / "pins" / "main.note"
    found = json.loads(say("consistency", short_run, "--head", pin, "--json"))
    assert (found["holds"], found["second"], found["root"]) == (True, main["size"], main["root"])
    assert json.loads(say("consistency", short_run, "--first", 5, "--json"))["proof"]
    say("consistency", short_run, "--head", short_run / "ledger" / "pins" / "party" / "home-1.note", status=1)


def test_exports_of_all_logs(say: Say, short_run: Path, require: Callable[[str], str]) -> None:
    text = say("export", short_run, "--format", "hledger")
    words = [require("hledger"), "check", "-s", "-f", "-"]
    for journal, good in ((text, True), (text.replace("wallet:home-1  -0.0", "wallet:home-1  -1.0", 1), False)):
        done = subprocess.run(words, input=journal, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is good, done.stderr
    csv = say("export", short_run, "--format", "csv").splitlines()[1:]
    assert sum(int(line.split(",")[6]) for line in csv) == 0


def test_two_signed_heads_of_one_size_prove_a_fork(say: Say, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    key = say("keygen", first, "s/main").strip()
    shutil.copytree(first / "keys", second / "keys")
    notes = []
    for folder in (first, second):
        assert say("init", folder, "--site", "s", "--currency", "EUR", "--operator", "op").strip() == key
        notes.append(tmp_path / f"{folder.name}.note")
        notes[-1].write_text(say("checkpoint", folder))
    assert "FORK" in say("fork-proof", *notes, "--key", key, status=1)
    assert "no fork" in say("fork-proof", notes[0], notes[0], "--key", key)


def test_a_ledger_of_ones_own_is_kept_from_the_command_line(say: Say, tmp_path: Path) -> None:
    own = tmp_path / "own"
    say("init", own, "--site", "s", "--currency", "EUR", "--operator", "op", "--party", "a")
    for party, role in (("op", "operator"), ("grid", "grid"), ("a", "prosumer")):
        say("register", own, party, "--role", role, "--meter", f"m-{party}")
    slot = 4_102_444_800  # 2100-01-01: no price can be late
    digest = "ab" * 32
    shared = {"slot": slot * 1_000_000, "slot_s": 900, "plan": "p", "inputs": digest, "certificate": digest}
    price = {"type": "price", "by": "op", "id": f"prc:{slot}"}
    leaf = json.loads(say("append", own, "--log", "party/a", stdin=json.dumps(
        {**price, "body": {**shared, "buy": {"a": 200_000}, "sell": {"a": 80_000}}})))[0]["leaf"]  # fmt: skip
    say("append", own, stdin=json.dumps(
        {**price, "body": {**shared, "buy": {"grid": 1}, "sell": {"grid": 2}, "commit": leaf}}))  # fmt: skip

    def metering(party: str, wh: int) -> dict[str, Any]:
        body = {"device": f"m-{party}", "start": slot * 1_000_000, "period_s": 900, "count": 0, "root": digest,
                "wh": wh, "quality": "estimated", "rev": 0}  # fmt: skip
        return {"type": "metering", "by": party, "id": f"mtr:m-{party}:{slot}:0", "body": body}

    say("append", own, "--log", "party/a", stdin=json.dumps(metering("a", -500)))
    say("append", own, stdin=json.dumps([metering("op", 100), metering("grid", 400)]))
    assert say("settle", own, "--slot", slot).split() == [
        f"stl:a:{slot}:0", f"stl:grid:{slot}:0", f"clr:{slot}:0", f"res:{slot}:0"
    ]  # fmt: skip
    assert "nothing to settle" in say("settle", own, "--slot", slot)
    say("reverse", own, f"stl:a:{slot}:0", "--log", "party/a", "--reason", "wrong meter")
    assert "across" in say("verify", own, "--json", status=1), "the totals are not yet those of the party's log"
    assert f"stl:a:{slot}:1" in say("settle", own, "--slot", slot)
    say("close", own)
    say("anchor", own)
    assert json.loads(say("verify", own, "--json"))["ok"]
    assert "1 parties have logs of their own" in say("show", own)
