"""Outside verification: programs that know nothing of vpptwin accept what is true and refuse what was changed."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import Draft, KeyRing, Ledger, places, receipt
from ledger.export import export
from ledger.policy import Place, Policy
from ledger.publish import publish
from ledger.witness import Cosigners, Witness, WitnessServer
from ledger.witness.heads import Heads

GO = Path(__file__).parent / "go" / "check.go"
GOCODE = Path("/usr/share/gocode")
"""Where Debian's golang-golang-x-mod-dev lies: built against it without any network."""


@pytest.fixture(scope="module")
def check(tmp_path_factory, require: Callable[[str], str]) -> Callable[..., tuple[bool, str]]:
    """`check(vkey, folder[, receipt, entry])` is whether Go's note and tlog packages accept it, and what they say."""
    go = require("go")
    if not (GOCODE / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        reason = "golang-golang-x-mod-dev is not installed"
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("go")
    program = folder / "check"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOCODE), "GOCACHE": str(folder / "cache")}
    environment |= {"GOFLAGS": "", "CGO_ENABLED": "0"}
    done = subprocess.run(
        [go, "build", "-o", str(program), str(GO)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    def call(*words: object) -> tuple[bool, str]:
        run = subprocess.run([str(program), *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
        assert run.returncode in (0, 1), run.stdout + run.stderr
        return run.returncode == 0, run.stdout

    return call


def grown(ledger: Ledger, count: int) -> None:
    bodies = [{"slot": n, "slot_s": 900, "plan": "p", "digest": "ab" * 32} for n in range(count)]
    ledger.append_many([Draft("dispatch", body, f"g:{body['slot']}", "vpp") for body in bodies])


@pytest.fixture
def published(village, tmp_path) -> tuple[str, Path, Path, Path]:
    """(log key, published folder, receipt, entry) of 600 entries, under a head that a witness cosigned too."""
    grown(village.ledger, 600 - village.ledger.head().size)
    log = village.keys.signer("homes/main").verifier
    heads = Heads(tmp_path / "heads.db")
    witness = Witness(KeyRing.derived(8).signer("w"), [log], heads, lambda: 1_700_000_000)
    with WitnessServer(witness) as server:
        policy = Policy.of([Place(log)], {"w": Place(witness.signer.cosigner, server.url)}, 1)
        with Cosigners(policy) as cosigners:
            publish(village.ledger, cosigners)
    heads.close()
    text, entry = tmp_path / "17.tlog-proof", tmp_path / "17.json"
    text.write_text(receipt.entry_receipt(village.folder, 17))
    entry.write_bytes(village.ledger._store.data(17))
    return log.vkey, places.tiles(village.folder), text, entry


def test_go_accepts_a_published_log_and_a_receipt(check, published):
    good, said = check(*published)
    assert good, said
    assert said == "holds: 600 entries\n"


def test_go_refuses_every_file_with_one_bit_changed(check, published):
    vkey, folder, text, entry = published
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "000.p"]
    assert len(files) == 7
    dice = random.Random(4)
    for path in [*files, text, entry]:
        data = path.read_bytes()
        at = dice.randrange(len(data) * 2 // 3 if path in (folder / "checkpoint", text) else len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :])
        assert not check(vkey, folder, text, entry)[0], f"{path} byte {at}"
        path.write_bytes(data)
    assert check(vkey, folder, text, entry)[0]


def test_go_refuses_another_key(check, published, village):
    other = KeyRing.derived(99).signer("homes/main").verifier.vkey
    good, said = check(other, *published[1:])
    assert not good
    assert "checkpoint" in said


def accepted(command: list[str], text: str, path: Path) -> bool:
    path.write_text(text)
    return subprocess.run([*command, str(path)], capture_output=True, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("program", ["hledger", "bean-check"])
def test_accounting_programs_accept_the_books_and_no_micro_more_or_less(village, tmp_path, require, program):
    """Beancount is run as a program, never imported. Amounts are changed in one leg and in both."""
    beside = Path(sys.executable).with_name(program)
    command = [str(beside) if beside.exists() else require(program)]
    if program == "hledger":
        command += ["check", "-s", "-f"]
    text = "".join(export(village.folder, "hledger" if program == "hledger" else "beancount"))
    journal = tmp_path / "journal"
    assert accepted(command, text, journal)
    amounts = [n for n, line in enumerate(text.splitlines()) if "0.024300" in line]
    assert len(amounts) >= 2
    changes = [text.replace("0.024300", "0.024301", 1), text.replace("0.024300", "0.024299", 1)]
    changes.append(changes[0].replace("-0.024300", "-0.024301", 1))
    changes.append(text.replace("0.024300", "1.024300", 1))
    flipped = text.encode()
    at = flipped.index(b"0.024300") + 7
    changes.append((flipped[:at] + bytes([flipped[at] ^ 1]) + flipped[at + 1 :]).decode())
    for changed in changes:
        assert changed != text
        assert not accepted(command, changed, journal)


def test_nothing_of_ours_imports_a_gpl_library():
    root = Path(__file__).parents[2]
    sources = [
        path for package in ("ledger", "twin", "devices", "controller") for path in (root / package).rglob("*.py")
    ]
    found = [
        path.name for path in sources if re.search(r"^\s*(import|from) (beancount|pymerkle)", path.read_text(), re.M)
    ]
    assert len(sources) > 100
    assert found == []
