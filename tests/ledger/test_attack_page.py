"""The page of attacks names tests that exist, and every attack has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "attacks.md"


def test_every_attack_on_the_page_has_a_test_that_runs():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    known = {
        node.name
        for path in [*HERE.glob("test_*.py"), *(HERE.parent / "twin").glob("test_audit.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    for row in rows:
        attack, layer, tests = row.strip("| ").split(" | ")
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, f"{attack}: no test"
        assert layer, attack
        assert set(named) <= known, f"{attack}: {set(named) - known}"
