"""manifest.json: names everything that decides a result, and says where two runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from twin import manifest
from twin.errors import TwinError
from twin.manifest import BUILDS, Manifest, differences, made, read, sha256, write

PLANS = ["twostage:day_ahead:a", "twostage:intraday:b", "twostage:intraday:c"]


@pytest.fixture(scope="module")
def first() -> Manifest:
    return made({"site": "s.yaml", "seed": 1}, {"s.yaml": "11", "d.csv": "22"}, "ab" * 32, PLANS)


def changed(before: Manifest, **fields: Any) -> Manifest:
    return msgspec.structs.replace(before, **fields)


def test_a_manifest_names_this_machine_and_all_builds(first: Manifest) -> None:
    assert set(first.builds) == set(BUILDS)
    assert "absent" not in first.builds.values()
    assert first.processor
    assert first.blas.split()[0]
    assert len(first.commit.removesuffix("+changes")) in (0, 40)


def test_it_comes_back_from_the_folder_as_it_was_written(first: Manifest, tmp_path: Path) -> None:
    write(first, tmp_path)
    assert read(tmp_path) == first
    assert differences(first, read(tmp_path)) == []
    assert json.loads((tmp_path / "manifest.json").read_text())["schema"] == manifest.SCHEMA


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"processor": "another"}, ["processor: {old.processor} then, another now"]),
        ({"python": "3.99"}, ["python: {old.python} then, 3.99 now"]),
        ({"blas": "mkl 1"}, ["blas: {old.blas} then, mkl 1 now"]),
        ({"commit": "0"}, ["commit: {old.commit} then, 0 now"]),
        ({"inputs": {"s.yaml": "99", "d.csv": "22"}}, ["inputs.s.yaml: 11 then, 99 now"]),
        ({"inputs": {"s.yaml": "11"}}, ["inputs.d.csv: 22 then, None now"]),
        ({"root": "cd" * 32}, ["ledger root: " + "ab" * 32 + " then, " + "cd" * 32 + " now"]),
        (
            {"plans": [PLANS[0], "x", "y"]},
            ["plan 1 is the first that differs: twostage:intraday:b then, x now"],
        ),
    ],
)
def test_each_difference_is_one_line_that_names_it(
    first: Manifest, fields: Mapping[str, Any], lines: list[str]
) -> None:
    assert differences(first, changed(first, **fields)) == [line.format(old=first) for line in lines]


def test_a_run_with_another_number_of_plans_differs(first: Manifest) -> None:
    (line,) = differences(first, changed(first, plans=PLANS[:2]))
    assert line == "plan 2 is the first that differs: twostage:intraday:c then, none now"
    (line,) = differences(changed(first, plans=PLANS[:2]), first)
    assert line == "plan 2 is the first that differs: none then, twostage:intraday:c now"


def test_results_come_last(first: Manifest) -> None:
    lines = differences(first, changed(first, root="0", plans=["x"], python="3.99", inputs={}))
    assert [line.split()[0].rstrip(":") for line in lines] == [
        "python",
        "inputs.d.csv",
        "inputs.s.yaml",
        "plan",
        "ledger",
    ]


def test_what_cannot_be_read_is_said_plainly(first: Manifest, tmp_path: Path) -> None:
    with pytest.raises(TwinError, match="no manifest"):
        read(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(TwinError, match="damaged manifest"):
        read(tmp_path)
    write(changed(first, schema=99), tmp_path)
    with pytest.raises(TwinError, match="manifest schema 99, this version reads 1; use a newer vpptwin"):
        read(tmp_path)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
