"""`vpptwin check`: all configuration errors at once; with --probe, every device is met."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from devices.commission import Identity, Verdict
from twin import logs, probing
from twin.cli.output import console, emit_json
from twin.exits import FINDING, UsageError
from twin.site import Site
from twin.site.loader import load_site


def check(
    site: Annotated[Path, typer.Argument(help="Site file (YAML).")],
    data: Annotated[Path | None, typer.Option(help="Folder of tidy data, instead of the site's own.")] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Talk to every device: what it is, how fast, which way its sign goes.")
    ] = False,
    self_test: Annotated[
        bool | None,
        typer.Option(help="With --probe: ask storage for 1 kW and release it. Default: if the site enables control."),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", help="Probe only this one; may be given again.")
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a first MQTT message or the answer to a test.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="With --probe: print one JSON object.")] = False,
) -> None:
    """Check a site file as a whole and report every error with file, line and field; --probe talks to the devices."""
    found = load_site(site, data=data, check_data=not probe)
    if probe:
        _probe(found, self_test, tuple(device or ()), wait, as_json)
        return
    kinds: dict[str, int] = {}
    for one in found.devices:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    console.print(f"[green]ok[/] {site}: site {found.id}, {len(found.parties)} parties, {counted}")
    for assumption in found.assumptions:
        console.print(f"  assumed: {assumption}", soft_wrap=True)


def _probe(site: Site, self_test: bool | None, only: tuple[str, ...], wait_s: float, as_json: bool) -> None:
    unknown = sorted(set(only) - {one.id for one in site.devices})
    if unknown:
        known = ", ".join(one.id for one in site.devices)
        raise UsageError(f"no device {', '.join(unknown)}", where="--device", mend=f"there are: {known}")
    if self_test and not probing.may_write(site):
        raise UsageError(
            "the site does not allow control",
            where="control",
            mend="enabled: true and mode: limited or full, or --no-self-test",
        )
    show, lines = (_ignore, logs.as_json_lines) if as_json else (_show_met, logs.as_plain_lines)
    with lines():
        met, verdicts = asyncio.run(probing.probe(site, only, self_test, wait_s, show))
    if as_json:
        emit_json({"devices": [asdict(one) for one in met], "self_test": [asdict(one) for one in verdicts]})
    else:
        _show_verdicts(verdicts)
    if not (all(one.ok for one in met) and all(one.ok for one in verdicts)):
        raise typer.Exit(FINDING)


def _ignore(_met: list[Identity]) -> None:
    """With --json, everything is said at the end."""


def _show_met(met: list[Identity]) -> None:
    for one in met:
        head = f"{one.device} ({one.kind}) at {one.where}"
        if one.fault:
            console.print(f"[red]no[/] {escape(head)}: {escape(one.fault)}", soft_wrap=True)
            continue
        speed = "" if one.latency_ms is None else f", {one.latency_ms:.1f} ms a poll (at most {one.latency_max_ms:.1f})"
        console.print(f"[green]ok[/] {escape(head)}: {escape(one.what)}{speed}", soft_wrap=True)
        shown = ", ".join(f"{name} {value:g}" for name, value in one.values.items())
        console.print(f"   {shown}", soft_wrap=True)
        for line in ([f"takes {one.control}"] if one.control else []) + [f"note: {note}" for note in one.notes]:
            console.print(f"   {escape(line)}", soft_wrap=True)


def _show_verdicts(verdicts: list[Verdict]) -> None:
    colours = {"right": "green", "wrong": "red", "unclear": "yellow", "skipped": "dim"}
    for verdict in verdicts:
        word = f"[{colours[verdict.result]}]{verdict.result}[/]"
        console.print(f"self-test {word} {verdict.device}: {escape(verdict.detail)}", soft_wrap=True)
