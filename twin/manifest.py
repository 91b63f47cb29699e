"""manifest.json: what a run was made of, so that `vpptwin rerun` can repeat it and say where a repeat differs."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from twin.errors import TwinError

SCHEMA = 1
BUILDS = (
    "numpy",
    "scipy",
    "piqp",
    "highspy",
    "clarabel",
    "pymodbus",
    "paho-mqtt",
    "msgspec",
    "orjson",
    "cryptography",
    "plotly",
)
"""Packages whose build can change a result or a byte of it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a run's result, and the result in one hash."""

    schema: int = SCHEMA
    version: str
    commit: str
    """Of the source tree; `+changes` when it was edited, empty when installed from a package."""
    options: dict[str, Any]
    """What `vpptwin run` was called with."""
    inputs: dict[str, str]
    """File name -> SHA-256."""
    builds: dict[str, str]
    processor: str
    python: str
    blas: str
    root: str
    """Root of the ledger's main log."""
    plans: list[str]
    """Ids of all plans in the order they were made."""


def write(manifest: Manifest, run_dir: Path) -> None:
    """Put manifest.json into the run folder."""
    (run_dir / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read(run_dir: Path) -> Manifest:
    """The manifest of a run folder. Raises TwinError when it is missing, damaged or newer than this version."""
    path = run_dir / "manifest.json"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TwinError(
            f"no manifest: {error.strerror}", where=str(path), mend="name a folder made by `vpptwin run`"
        ) from error
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise TwinError(f"damaged manifest: {error}", where=str(path)) from error
    if manifest.schema > SCHEMA:
        raise TwinError(
            f"manifest schema {manifest.schema}, this version reads {SCHEMA}",
            where=str(path),
            mend="use a newer vpptwin",
        )
    return manifest


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made(options: Mapping[str, Any], inputs: Mapping[str, str], root: str, plans: Iterable[str]) -> Manifest:
    """The manifest of a run that just ended on this machine."""
    return Manifest(
        version=_version("vpptwin"),
        commit=_commit(),
        options=dict(options),
        inputs=dict(inputs),
        builds={name: _version(name) for name in BUILDS},
        processor=_processor(),
        python=platform.python_version(),
        blas=_blas(),
        root=root,
        plans=list(plans),
    )


def differences(first: Manifest, second: Manifest) -> list[str]:
    """One line for each field that differs, results last; empty when the runs are equal in every respect."""
    lines: list[str] = []
    for name in ("version", "commit", "processor", "python", "blas"):
        one, two = getattr(first, name), getattr(second, name)
        if one != two:
            lines.append(f"{name}: {one} then, {two} now")
    for name in ("inputs", "builds"):
        one, two = getattr(first, name), getattr(second, name)
        lines += [
            f"{name}.{key}: {one.get(key)} then, {two.get(key)} now"
            for key in sorted(one | two)
            if one.get(key) != two.get(key)
        ]
    for index, (one, two) in enumerate(zip_longest(first.plans, second.plans, fillvalue="none")):
        if one != two:
            lines.append(f"plan {index} is the first that differs: {one} then, {two} now")
            break
    if first.root != second.root:
        lines.append(f"ledger root: {first.root} then, {second.root} now")
    return lines


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    home = Path(__file__).resolve().parent.parent
    if not (home / ".git").exists():
        return ""
    git = ["git", "-C", str(home)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _blas() -> str:
    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
