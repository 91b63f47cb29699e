"""`vpptwin sweep`: the same measured days under many policies."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from twin.cli.budget import changed
from twin.cli.output import console, emit_json, progress_bar
from twin.exits import FAULT, INTERRUPTED, UsageError
from twin.site import load_site
from twin.sweep import choice
from twin.sweep.choice import Choice
from twin.sweep.cluster import LOCAL, Cluster
from twin.sweep.page import page
from twin.sweep.pool import Pool
from twin.sweep.result import SweepResult, summarise
from twin.sweep.sweep import Finished, Sweep, prepare, run
from twin.sweep.table import AGAINST_HEADINGS, HEADINGS, against, better, lines, regret_words
from twin.sweep.work import Executor, Serial


def sweep(
    site: Annotated[Path, typer.Argument(help="Site file (YAML) with measured data.")],
    spans: Annotated[str, typer.Option(help="FIRST-DAY:DAYS, several by commas.")] = choice.SPANS,
    seeds: Annotated[str, typer.Option(help="Seeds of the minutes inside measured hours.")] = choice.SEEDS,
    settings: Annotated[str, typer.Option(help="Of fixed, dynamic, feeder.")] = ",".join(choice.SETTINGS),
    policies: Annotated[str, typer.Option(help="Names, installed mechanisms, or NAME=module:Class.")] = ",".join(
        choice.POLICIES
    ),
    seeds_for: Annotated[str | None, typer.Option(help="Fewer seeds for slow policies, such as twostage=1.")] = None,
    dynamic_prices: Annotated[
        Path | None, typer.Option(help="Data folder (series import, export) or CSV of prices for the setting dynamic.")
    ] = None,
    feeder_w: Annotated[
        float | None, typer.Option(help="Import limit, W; default from the 28 days before the first span.")
    ] = None,
    feeder_per_kwh: Annotated[float, typer.Option(help="Price of each kWh above the limit.")] = 1.0,
    budget: Annotated[str | None, typer.Option(help="Work of one solve, e.g. gap=0.01,rounds=6,nodes=5000.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes; default one per core.")] = None,
    ray: Annotated[str | None, typer.Option(help="A Ray cluster's address, or local (extra [cluster]).")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of tidy data, instead of the site's own.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/sweep-<site>. Finished cells stay.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Compare policies over measured days; interrupted, the same command continues."""
    plant = load_site(site, data=data)
    names, numbers = choice.policies(policies), choice.seeds(seeds)
    chosen = Choice(
        spans=choice.spans(spans),
        seeds=numbers,
        settings=choice.settings(settings),
        policies=names,
        seeds_for=choice.seeds_for(seeds_for, [name.partition("=")[0] for name in names], len(numbers)),
        budget=changed(plant.mechanism.budget, budget),
        feeder_w=_positive("--feeder-w", feeder_w),
        feeder_per_kwh=_positive("--feeder-per-kwh", feeder_per_kwh) or 0.0,
        dynamic_prices=None if dynamic_prices is None else str(dynamic_prices),
    )
    workers = _jobs(jobs)
    if any(":" in name for name in names):
        # module:Class is looked for where the command was called, as `python -m` does
        sys.path.insert(0, str(Path.cwd()))
    folder = Path("runs") / f"sweep-{plant.id}" if out is None else out
    checked = prepare(chosen, plant, folder)
    finished = _computed(checked, ray, workers)
    found = summarise(checked, finished)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    (folder / "sweep.html").write_text(page(found), encoding="utf-8")
    if as_json:
        emit_json(msgspec.to_builtins(found))
    _show(found)
    console.print(f"{found.cells} cells, {found.computed} of them computed now", soft_wrap=True)
    console.print(f"report: [bold]{folder / 'sweep.html'}[/]", soft_wrap=True)
    if found.failures:
        raise typer.Exit(FAULT)


def _computed(checked: Sweep, ray: str | None, jobs: int) -> Finished:
    """The cells; Ctrl-C and SIGTERM end at once and lose no finished one."""
    executor: Executor = Cluster(ray, jobs if ray == LOCAL else None) if ray is not None else _local(jobs)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with progress_bar("sweeping") as show:
            return run(checked, executor, show)
    except KeyboardInterrupt:
        console.print("interrupted: finished cells are kept, the same command continues")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        executor.close()
        signal.signal(signal.SIGTERM, before)


def _local(jobs: int) -> Executor:
    return Serial() if jobs == 1 else Pool(jobs)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _jobs(jobs: int | None) -> int:
    if jobs is not None and jobs < 1:
        raise UsageError(f"{jobs} processes", where="--jobs", mend="give at least 1")
    return jobs or os.cpu_count() or 1


def _positive(name: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise UsageError(f"{value:g}", where=name, mend="give a number above zero")
    return value


def _show(found: SweepResult) -> None:
    for setting in found.settings:
        _show_setting(found, str(setting["name"]))
    for text in (*found.notes, *(f"not computed: {failure}" for failure in found.failures)):
        console.print(f"- {escape(text)}", soft_wrap=True)


def _show_setting(found: SweepResult, setting: str) -> None:
    costs = _table(f"{found.site}, {setting}: {found.currency} per day", HEADINGS, 2)
    for line in lines(found, setting):
        costs.add_row(*map(escape, line))
    paired = _table("paired daily differences, 95 % intervals", ("policy", *AGAINST_HEADINGS), 1)
    for policy, cells in against(found, setting).items():
        paired.add_row(escape(policy), *cells)
    console.print(costs, paired)
    for policy, others in better(found, setting).items():
        if others:
            console.print(escape(f"{policy} is better than {', '.join(others)}"), soft_wrap=True)
    console.print(regret_words(found, setting), soft_wrap=True)


def _table(title: str, headings: tuple[str, ...], words: int) -> Table:
    """A table whose first `words` columns are words, the others numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE)
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="left" if k < words else "right", no_wrap=True)
    return table
