"""summary.json: the contract's fields, and plain words for a file that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twin import figures, summary
from twin.errors import TwinError


@pytest.fixture
def copied(short_run: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with the summary of a real run, and its content."""
    text = (short_run / summary.FILE).read_text(encoding="utf-8")
    (tmp_path / summary.FILE).write_text(text, encoding="utf-8")
    return tmp_path, json.loads(text)


def test_it_is_read_back_as_it_was_written(copied: tuple[Path, dict[str, Any]]) -> None:
    folder, content = copied
    found = summary.read(folder)
    assert (found.site, found.slots, found.seed) == (content["site"], content["slots"], content["seed"])
    assert figures.encode(found) == (folder / summary.FILE).read_bytes()


def test_a_newer_damaged_or_missing_one_is_refused_with_the_mend(copied: tuple[Path, dict[str, Any]]) -> None:
    folder, content = copied
    path = folder / summary.FILE
    path.write_text(json.dumps({**content, "schema": 2}))
    with pytest.raises(TwinError, match="summary schema 2, this version reads 1; use a newer vpptwin"):
        summary.read(folder)
    path.write_text(json.dumps({**content, "slots": "eight"}))
    with pytest.raises(TwinError, match=r"damaged summary: .*slots"):
        summary.read(folder)
    path.unlink()
    with pytest.raises(TwinError, match=r"no summary.*name a folder made by `vpptwin run`"):
        summary.read(folder)
