"""`vpptwin run` and `vpptwin rerun`."""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from twin import logs, manifest
from twin import run as runs
from twin.cli.output import console, emit_json, progress_bar
from twin.cli.overview import overview
from twin.exits import FINDING, INTERRUPTED, UsageError
from twin.options import RunOptions, again
from twin.summary import Summary
from twin.summary import read as read_summary


def run(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    clock: Annotated[str, typer.Option(help="lockstep, wall, or xN (N times as fast as the wall).")] = "lockstep",
    days: Annotated[float | None, typer.Option(help="Length of the run in days of 24 h (default 1).")] = None,
    hours: Annotated[float | None, typer.Option(help="Length of the run in hours.")] = None,
    start: Annotated[
        str | None, typer.Option(help="First day or moment, e.g. 2016-09-05 (local time of the site).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder of tidy data, instead of the site's own.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<site>-<n>.")] = None,
    mechanism: Annotated[str | None, typer.Option(help="Market mechanism, instead of the site's own.")] = None,
    ports: Annotated[str, typer.Option(help="auto: free ports; fixed: those of the site file.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Run the whole loop on an emulated plant and write a report."""
    options = RunOptions(
        site=str(site),
        clock=clock,
        hours=_hours(days, hours),
        start=start,
        seed=seed,
        data=None if data is None else str(data),
        mechanism=mechanism,
        ports=_ports(ports),
    )
    summary, folder = execute(options, out, force=force)
    if as_json:
        emit_json(msgspec.to_builtins(summary))
    console.print(overview(summary))
    console.print(f"ledger root: {summary.ledger.root}", soft_wrap=True)
    console.print(f"report: [bold]{folder / 'report.html'}[/]", soft_wrap=True)
    if summary.stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending: impatience must not change the exit status
        raise typer.Exit(INTERRUPTED)


def rerun(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path | None, typer.Option(help="Keep the repeated run here.")] = None,
) -> None:
    """Repeat a run from its manifest and say whether it is equal, or where it differs."""
    before = manifest.read(run_dir)
    if read_summary(run_dir).stopped:
        raise UsageError("the run was stopped, which nothing repeats", where=str(run_dir), mend="rerun one that ended")
    options = again(before.options)
    with tempfile.TemporaryDirectory(prefix="vpptwin-") as scratch:
        folder = Path(scratch) / "rerun" if out is None else out
        summary, _ = execute(options, folder, force=False)
        if summary.stopped:
            raise typer.Exit(INTERRUPTED)
        found = manifest.differences(before, manifest.read(folder))
    if not found:
        console.print(f"[green]equal[/]: ledger root {before.root}")
        return
    for line in found:
        console.print(f"differs: {line}", soft_wrap=True)
    if any(line.startswith(("ledger root", "plan ")) for line in found):
        raise typer.Exit(FINDING)
    console.print(f"[green]same result[/]: ledger root {before.root}")


def execute(options: RunOptions, out: Path | None, *, force: bool) -> tuple[Summary, Path]:
    """One run with a progress bar; (summary, its folder)."""
    prepared = runs.prepare(options, out, force=force)
    with logs.to_file(prepared.out / "run.log"), progress_bar("running") as show:
        summary = asyncio.run(runs.run(prepared, show))
    logging.getLogger(__name__).debug("done")
    return summary, prepared.out


def _hours(days: float | None, hours: float | None) -> float:
    if days is not None and hours is not None:
        raise UsageError("both --days and --hours", mend="give one of them")
    return 24.0 * days if days is not None else hours if hours is not None else 24.0


def _ports(text: str) -> Literal["auto", "fixed"]:
    known: dict[str, Literal["auto", "fixed"]] = {"auto": "auto", "fixed": "fixed"}
    if text not in known:
        raise UsageError(f"ports {text!r}", where="--ports", mend="choose auto or fixed")
    return known[text]
