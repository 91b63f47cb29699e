"""Whole runs in this process, on real sockets and a real broker, with devices, data and brokers that misbehave."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ledger import show
from twin import logs
from twin import run as runs
from twin.audit import audit
from twin.options import RunOptions
from twin.summary import Summary

ROOT = Path(__file__).parents[2]
SITE = ROOT / "examples" / "sites" / "two-homes.yaml"
HOMES = ROOT / "examples" / "data" / "homes"

Replacements = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Done:
    """A finished run and what it left."""

    summary: Summary
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "run.log").read_text(encoding="utf-8")

    @property
    def report(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Of telemetry.db."""
        database = sqlite3.connect(self.folder / "telemetry.db")
        try:
            return database.execute(query, values).fetchall()
        finally:
            database.close()

    def events(self, where: str) -> list[str]:
        """What happened there, in order."""
        return [what for (what,) in self.rows('SELECT what FROM event WHERE "where" = ? ORDER BY id', where)]

    def metered(self, device: str) -> list[dict[str, Any]]:
        """The newest word on each settled slot of a settlement meter, in order."""
        entries = show.entries(self.folder, type="metering", limit=1_000_000)
        bodies = [entry["body"] for entry in entries if entry["body"]["device"] == device]
        newest = {body["start"]: body for body in sorted(bodies, key=lambda body: int(body["rev"]))}
        return [newest[start] for start in sorted(newest)][: self.summary.slots]

    def qualities(self, device: str) -> list[str]:
        """`actual` or `estimated` of each settled slot."""
        return [body["quality"] for body in self.metered(device)]


@pytest.fixture(scope="session")
def site_text() -> Callable[..., str]:
    """`site_text({"bat-1": {"never_answers": True}}, [("tick_s: 60", "tick_s: 30")])` is two-homes.yaml so changed."""

    def of(behaviours: Mapping[str, Mapping[str, Any]] | None = None, changes: Replacements = ()) -> str:
        text = SITE.read_text(encoding="utf-8")
        # A silent unit costs its time-out in real seconds whenever it is tried.
        for old, new in (
            ("../data/homes", str(HOMES)),
            ("kind: modbus-tcp,", "kind: modbus-tcp, timeout_s: 0.2,"),
            *changes,
        ):
            assert old in text, old
            text = text.replace(old, new)
        for device, behaviour in (behaviours or {}).items():
            flow = "{" + ", ".join(f"{key}: {str(value).lower()}" for key, value in behaviour.items()) + "}"
            inline, block = f"- {{id: {device},", f"- id: {device}\n"
            assert inline in text or block in text, device
            text = text.replace(inline, f"{inline} behaviour: {flow},")
            text = text.replace(block, f"{block}    behaviour: {flow}\n")
        return text

    return of


@pytest.fixture(scope="session")
def run_here(tmp_path_factory: pytest.TempPathFactory, site_text: Callable[..., str]) -> Callable[..., Done]:
    """`run_here({"bat-1": {"dies_at_s": 900}}, hours=1)` is a finished run whose ledger verifies."""

    def go(
        behaviours: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        changes: Replacements = (),
        progress: runs.Progress = lambda done, total, what: None,
        **options: Any,
    ) -> Done:
        folder = tmp_path_factory.mktemp("run")
        site = folder / "site.yaml"
        site.write_text(site_text(behaviours, changes), encoding="utf-8")
        prepared = runs.prepare(RunOptions(site=str(site), **options), folder / "run", force=False)
        with logs.to_file(prepared.out / "run.log"):
            summary = asyncio.run(runs.run(prepared, progress))
        assert audit(prepared.out).ok
        assert (prepared.out / "report.html").exists()
        return Done(summary, prepared.out)

    return go


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """`plugin("moody", source)` installs a mechanism, its class named Plugin; returns the environment."""

    def install(name: str, source: str) -> dict[str, str]:
        folder = tmp_path / "site-packages"
        about = folder / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (about / "entry_points.txt").write_text(f"[vpptwin.mechanisms]\n{name} = {name}:Plugin\n", encoding="utf-8")
        return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}

    return install
