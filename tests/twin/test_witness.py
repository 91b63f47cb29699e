"""The verbs around witnesses, as a person calls them: real processes, real sockets."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import Ledger, note, places
from ledger.note import Verifier
from ledger.policy import Place, Policy
from ledger.verify import verify

COMMAND = Path(sys.executable).with_name("vpptwin")


@pytest.fixture
def run(short_run, tmp_path) -> Path:
    """A copy of a finished run, with its keys."""
    return shutil.copytree(short_run, tmp_path / "run")


def test_the_demonstration_shows_a_fork_and_a_rollback_refused(vpptwin):
    shown = json.loads(vpptwin("ledger", "witness", "demo", "--json").stdout)
    assert shown["good"]
    assert (shown["nodes"], shown["quorum"]) == (8, 6)
    answered = {step["tried"].partition(":")[0]: step["answered"] for step in shown["steps"]}
    assert answered["a fork"] == "6 x 422 Unprocessable"
    assert answered["a split view"] == "6 x 409 Conflict"
    assert answered["a rollback"] == "6 x 400 Bad Request"
    assert answered["a restored backup"] == "6 x 409 Conflict"
    assert answered["the same, signed by another key"] == "6 x 403 Forbidden"
    assert "no standing settlement" in answered["an entry that breaks a rule, soundly chained and signed"]
    assert any("8 of 8 cosigned after executing every rule" in said for said in answered.values())


def test_a_demonstration_that_cannot_be_is_refused(vpptwin, tmp_path):
    assert "can never be had" in vpptwin("ledger", "witness", "demo", "--nodes", "2", "--quorum", "3", expect=2).stderr
    assert "exists" in vpptwin("ledger", "witness", "demo", "--out", tmp_path, expect=2).stderr


def test_a_run_is_cosigned_by_a_validating_witness_and_published(vpptwin, run, tmp_path):
    folder = run / "ledger"
    with Ledger.open(run, readonly=True) as ledger:
        vkey = ledger.state[("log_keys",)][-1][1]
    mine = tmp_path / "w1"
    key = vpptwin("ledger", "witness", "key", mine, "witness.example/w1").stdout.strip()
    words = ["witness", "serve", mine, "witness.example/w1", "--log", vkey, "--validate", places.tiles(folder)]
    command = [str(COMMAND), "ledger", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, shown = process.stdout.readline().split()
        assert shown == key
        policy = Policy.of([Place(Verifier.parse(vkey))], {"w1": Place(Verifier.parse(key), url)}, 1)
        places.policy(folder).write_text(policy.text)
        before = verify(run)
        assert [finding.layer for finding in before.findings] == ["witness"]
        said = json.loads(vpptwin("ledger", "cosign", run, "--json").stdout)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert (said["cosigned"], said["refused"]) == (["w1"], {})
    report = verify(run)
    assert report.ok, report.findings
    assert report.cosigned_size == report.entries == said["size"]
    assert "holds" in vpptwin("ledger", "fsck", run).stdout
    assert "no answer" in vpptwin("ledger", "cosign", "--policy", _stranger(tmp_path, policy), run, expect=3).stderr


def _stranger(folder: Path, policy: Policy) -> Path:
    """A policy that asks a witness where none listens any more."""
    path = folder / "policy"
    other = policy.witnesses["w1"]
    public = Verifier(other.verifier.name, bytes(reversed(other.verifier.public)), note.COSIGNATURE)
    path.write_text(Policy.of(policy.logs, {"w2": Place(public, other.url)}, 1).text)
    return path


def test_published_tiles_are_checked_file_by_file(vpptwin, run):
    assert "published in" in vpptwin("ledger", "tiles", run).stdout
    folder = places.tiles(run / "ledger")
    assert "holds" in vpptwin("ledger", "fsck", run).stdout
    tile = next(path for path in sorted(folder.glob("tile/0/**/*")) if path.is_file())
    data = bytearray(tile.read_bytes())
    data[40] ^= 4
    tile.write_bytes(data)
    found = json.loads(vpptwin("ledger", "fsck", run, "--json", expect=1).stdout)
    assert not found["ok"]
    assert tile.relative_to(folder).as_posix() in found["findings"][0]


def test_a_witness_folder_belongs_to_one_witness(vpptwin, tmp_path):
    vpptwin("ledger", "witness", "key", tmp_path / "w", "a")
    assert "is that of a" in vpptwin("ledger", "witness", "key", tmp_path / "w", "b", expect=3).stderr
