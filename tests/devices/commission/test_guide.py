"""docs/connect-your-hardware.md, run from top to bottom: files are written and commands executed as by a reader."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "connect-your-hardware.md"
FENCE = re.compile(r"^```(\w+)\n(?:# (\S+\.\w+)\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Language, the name of the file that the block is, its text."""
PORTS = ("15071", "15072", "15081", "15082", "18840", "18841", "18842")
EXPECTED = {
    "vpptwin check bench.yaml": "ok",
    "vpptwin check bench.yaml --probe": "self-test right battery",
    "vpptwin characterise bench.yaml": "round_trip_pu",
    "vpptwin release bench.yaml": "released battery",
    "mbpoll": r"\[13\]:\s+5000",
    "vpptwin check acme.yaml --probe": "self-test right battery",
    "python -m pytest": "1 passed",
    "vpptwin check mqtt.yaml --probe": r"ok meter-vpp .*\s+p_w -350, e_imp_wh 1200",
}
"""What the reader should see after a command that begins like this."""


def blocks() -> list[tuple[str, str, str]]:
    return FENCE.findall(GUIDE.read_text(encoding="utf-8"))


def free_ports(count: int) -> list[int]:
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in taken]
    for one in taken:
        one.close()
    return ports


def elsewhere(text: str, ports: dict[str, str]) -> str:
    """The page's fixed ports replaced by free ones; the two rewrites of ports by `sed` become those too."""
    text = text.replace(
        "-e 's/1507/1508/'", " ".join(f"-e 's/{ports[f'1507{k}']}/{ports[f'1508{k}']}/'" for k in (1, 2))
    )
    return re.sub("|".join(PORTS), lambda found: ports[found[0]], text)


def test_every_command_of_the_guide_does_what_it_says(require, tmp_path: Path) -> None:
    for program in ("mosquitto", "mosquitto_pub", "mbpoll"):
        require(program)
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    shell = Shell(tmp_path)
    seen: set[str] = set()
    try:
        for language, name, text in blocks():
            if name:
                (tmp_path / name).write_text(elsewhere(text, ports), encoding="utf-8")
                continue
            assert language == "sh"
            for command in elsewhere(text, ports).strip().splitlines():
                output = shell.run(command)
                for start, expected in EXPECTED.items():
                    if command.startswith(start) and not (start == "vpptwin check bench.yaml" and "--probe" in command):
                        assert re.search(expected, output), f"$ {command}\n{output}"
                        seen.add(start)
    finally:
        shell.close()
    assert seen == set(EXPECTED), "the guide lost a command that this test knows"


class Shell:
    """Commands as typed, one after the other, in one folder; those with & live until `close`."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
        self._options = {"cwd": folder, "env": {**os.environ, "PATH": path, "COLUMNS": "240"}}
        self._folder = folder
        self._behind: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> str:
        if command.endswith("&"):
            words = ["bash", "-c", command.removesuffix("&")]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
            self._behind.append(subprocess.Popen(words, **quiet, **self._options))
            site = re.search(r"devices (\S+)", command)
            if site is not None:
                self._wait(site[1])
            return ""
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=90, check=False, **self._options
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"$ {command}\n{output}"
        return output

    def _wait(self, site: str) -> None:
        """Until the stand-ins of a site file listen."""
        text = (self._folder / site).read_text(encoding="utf-8")
        for port in map(int, re.findall(r"host: 127.0.0.1, port: (\d+)", text)):
            for _ in range(300):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            else:
                raise AssertionError(f"nothing listens on {port} of {site}")

    def close(self) -> None:
        for process in self._behind:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


@pytest.mark.parametrize("word", ["modbus-rtu", "baud", "parity", "stop_bits", "failsafe", "characterise", "--probe"])
def test_the_guide_names_what_a_reader_must_know(word: str) -> None:
    assert word in GUIDE.read_text(encoding="utf-8")
