"""Names of the register maps that ship with devices/, with the kind of device each describes."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources


@cache
def known_maps() -> dict[str, str | None]:
    """Map name -> kind (None = any, as for SunSpec, which says itself what it is)."""
    found: dict[str, str | None] = dict.fromkeys(("sunspec", "sunspec-legacy", "sunspec-float"))
    folder = resources.files("devices") / "maps"
    for entry in sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []:
        if entry.name.endswith(".yaml"):
            kind = re.search(r"^kind:\s*(\w+)", entry.read_text(encoding="utf-8"), re.MULTILINE)
            found[entry.name.removesuffix(".yaml")] = kind.group(1) if kind else None
    return found
