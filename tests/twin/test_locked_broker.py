"""`vpptwin init` and a real mosquitto with the files it wrote: the site's own programs get in, nobody else does."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twin.store import StoreReader

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("vpptwin")
METERS = ["meter-1", "meter-2", "meter-vpp"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """two-homes.yaml on free ports with a tick of a second; meter-2 is a Shelly."""
    text = (ROOT / "examples" / "sites" / "two-homes.yaml").read_text(encoding="utf-8")
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    for old, one in zip(("15040", "15041", "15042", "18831"), taken, strict=True):
        text = text.replace(old, str(one.getsockname()[1]))
        one.close()
    for old, new in (
        ("../data/homes", str(ROOT / "examples" / "data" / "homes")),
        ("tick_s: 60", "tick_s: 1"),
        ("party: home-2, mqtt: true", "party: home-2, mqtt: true, adapter: shelly-pro3em, topic: shelly-9"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def broker(
    site: Path, require: Callable[[str], str], vpptwin: Callable[..., Any], tmp_path: Path
) -> Iterator[dict[str, str]]:
    """mosquitto with the files of `vpptwin init`; the site names it, the fixture is what the environment needs."""
    program = require("mosquitto")
    port = re.findall(r"^broker: \{port: (\d+)", site.read_text(encoding="utf-8"), re.MULTILINE)[0]
    said = vpptwin("init", site, "--out", tmp_path / "locked", "--port", port).stderr
    line = re.findall(r"in \S+:  (broker: \{.*\})", said)[0]
    site.write_text(re.sub(r"^broker: .*$", line, site.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert f"mosquitto -c {tmp_path / 'locked' / 'mosquitto.conf'}" in said
    process = subprocess.Popen([program, "-c", str(tmp_path / "locked" / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        wait_for(int(port))
        yield {"VPPTWIN_BROKER_SECRETS": str(tmp_path / "locked" / "secrets.txt")}
    finally:
        process.terminate()
        process.wait(20)


def wait_for(port: int) -> None:
    ends = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_plant_and_service_get_in_with_the_files_and_nobody_without(
    site: Path, broker: dict[str, str], vpptwin: Callable[..., Any], tmp_path: Path
) -> None:
    words = ("run", site, "--clock", "wall", "--hours", "0.002", "--ports", "fixed", "--out")
    done = vpptwin(*words, tmp_path / "run", "--json", **broker)
    telemetry = json.loads(done.stdout)["telemetry"]
    assert telemetry["missing"] + telemetry["lost"] <= 3 * len(METERS), "they were heard from the first seconds on"
    assert telemetry["received"] == telemetry["stored"] >= 8 * 5
    with StoreReader(tmp_path / "run" / "telemetry.db") as reader:
        heard = {meter: [reading.seq for reading, _ in reader.readings(meter)] for meter in ("meter-1", "meter-vpp")}
    for seqs in heard.values():
        assert seqs == list(range(1, len(seqs) + 1)), "a reading that was sent is not in the store"
        assert len(seqs) >= 7
    refused = vpptwin(*words, tmp_path / "other", expect=3)
    assert "no MQTT broker accepts the devices" in refused.stderr


def test_the_files_are_private_new_and_never_overwritten(
    site: Path, vpptwin: Callable[..., Any], tmp_path: Path
) -> None:
    vpptwin("init", site, cwd=tmp_path)
    folder = tmp_path / "broker-two-homes"
    for name in ("secrets.txt", "passwords", "acl", "server.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"
    users = dict(line.split() for line in (folder / "secrets.txt").read_text().splitlines())
    assert set(users) == {"service", *METERS}
    assert len(set(users.values())) == 4
    acl = (folder / "acl").read_text()
    assert "user meter-2\ntopic write shelly-9/" in acl
    again = vpptwin("init", site, cwd=tmp_path, expect=2)
    assert "holds files already; name an empty folder" in again.stderr
    assert "use tls, or listen on 127.0.0.1" in vpptwin(
        "init", site, "--out", "x", "--host", "0.0.0.0", "--no-tls", cwd=tmp_path, expect=2
    ).stderr  # fmt: skip
    wrong = vpptwin("devices", site, expect=2, VPPTWIN_BROKER_SECRETS=str(tmp_path / "none"))
    assert "`vpptwin init` writes one" in wrong.stderr
