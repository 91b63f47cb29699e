"""The house stands as docs/architecture.md draws it: who may import whom, one clock, a light service, honest verbs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from controller.mechanism import GROUP, load, names
from twin.cli.app import app
from twin.cli.later import LATER
from twin.exits import USAGE, UsageError, status

ROOT = Path(__file__).parents[1]
GROUND_FLOOR = ("devices", "controller", "ledger")
PACKAGES = (*GROUND_FLOOR, "twin")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

CLOCK = ROOT / "twin" / "clock.py"
TIMELESS = {
    "time.time",
    "time.time_ns",
    "time.sleep",
    "asyncio.sleep",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "uuid.uuid1",
    "uuid.uuid4",
}
"""What reads a clock, sleeps or draws lots behind the clock's back (CONTRACT, time and determinism)."""

HEAVY = ("highspy", "piqp", "clarabel", "cvxpy", "pyscipopt", "sklearn", "pandas", "pyarrow", "plotly", "pandapower")
VERBS = (
    *("run", "rerun", "devices", "serve", "check", "ledger", "solve", "reproduce", "replay", "test", "release"),
    *("proxy", "characterise", "record", "export", "whatif", "explain", "init", "sweep"),
)
"""All verbs of the command line's contract; each works or says what brings it."""


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import wherever it stands, also of importlib.import_module and __import__."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide who imports whom"
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in ("__import__", "import_module", "importlib.import_module"):
                yield node.lineno, str(node.args[0].value)


def called_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of every name and attribute, with the module's import aliases resolved."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases.update({alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            aliases.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            head, dot, rest = ast.unparse(node).partition(".")
            yield node.lineno, aliases.get(head, head) + dot + rest


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("package", GROUND_FLOOR)
def test_the_ground_floor_packages_never_import_each_other_or_twin(package: str) -> None:
    strangers = set(PACKAGES) - {package}
    found = [
        f"{place(path, line)} imports {module}"
        for path, tree in TREES.items()
        if path.relative_to(ROOT).parts[0] == package
        for line, module in imported(tree)
        if module.partition(".")[0] in strangers
    ]
    assert found == []


def test_the_search_for_imports_sees_lazy_and_dynamic_ones() -> None:
    code = "def f():\n    from twin.run import run\n    import importlib\n    importlib.import_module('ledger.core')\n"
    assert {module for _, module in imported(ast.parse(code))} == {"twin.run", "importlib", "ledger.core"}


def test_nobody_but_the_clock_reads_time_or_sleeps() -> None:
    found = [
        f"{place(path, line)} uses {name}"
        for path, tree in TREES.items()
        if path != CLOCK
        for line, name in called_names(tree)
        if name in TIMELESS
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "from time import sleep as nap\nnap(1)",
        "import asyncio as a\na.sleep(1)",
        "import datetime as dt\ndt.datetime.now()",
        "from datetime import datetime\ndatetime.utcnow()",
    ],
)
def test_the_search_for_clocks_sees_through_aliases(code: str) -> None:
    assert any(name in TIMELESS for _, name in called_names(ast.parse(code)))


def test_the_service_process_loads_no_solver_and_no_table_library() -> None:
    code = "import sys, twin.cli, twin.session, twin.run\nprint(*sorted(set(sys.argv[1:]) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_every_module_says_what_it_is() -> None:
    silent = [str(path.relative_to(ROOT)) for path, tree in TREES.items() if not ast.get_docstring(tree)]
    assert silent == []
    assert len(MODULES) > 100


def test_types_and_register_maps_are_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = project["tool"]["setuptools"]["package-data"]
    for package in PACKAGES:
        assert "py.typed" in data[package]
        assert (ROOT / package / "py.typed").is_file()
    shipped = {path for pattern in data["devices"] for path in (ROOT / "devices").glob(pattern)}
    maps = set((ROOT / "devices" / "maps").iterdir())
    assert maps <= shipped, "a register map that the wheel would lack"
    found = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert found == ["twin*", "devices*", "controller*", "ledger*"]


def test_twostage_is_found_by_its_entry_point_like_any_mechanism() -> None:
    assert "twostage" in {point.name for point in entry_points(group=GROUP)}
    for name in names():
        assert load(name).name == name


def listed() -> set[str]:
    """Verbs that `vpptwin --help` lists."""
    shown = CliRunner().invoke(app, ["--help"], terminal_width=200).output
    return set(re.findall(r"^  (\w+)\s", shown.partition("Commands:")[2], re.MULTILINE))


LEDGER_VERBS = (
    *("bill", "init", "keygen", "register", "append", "checkpoint", "cosign", "settle", "reverse", "close", "anchor"),
    *("verify", "show", "prove", "verify-proof", "auditor", "consistency", "fork-proof", "replay", "rate", "export"),
    *("tiles", "witness", "fsck"),
)
"""All verbs of the ledger's specification, with `show` and `auditor`."""


def test_help_lists_every_verb_of_the_ledger() -> None:
    shown = CliRunner().invoke(app, ["ledger", "--help"], terminal_width=200).output
    assert set(re.findall(r"^  ([\w-]+)\s", shown.partition("Commands:")[2], re.MULTILINE)) == set(LEDGER_VERBS)
    for verb in LEDGER_VERBS:
        assert CliRunner().invoke(app, ["ledger", verb, "--help"]).exit_code == 0


def test_help_lists_exactly_the_verbs_that_work() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    working = {name for name, verb in command.commands.items() if not verb.hidden}
    assert listed() == working
    assert {"run", "rerun", "devices", "serve", "check", "ledger"} <= working
    assert working.isdisjoint(LATER)
    assert working | set(LATER) == set(VERBS)
    assert "..." not in CliRunner().invoke(app, ["--help"]).output.partition("Commands:")[2], "lines too long"
    for verb in sorted(working):
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0


def test_help_imports_no_verb_and_release_only_its_own() -> None:
    code = "import sys, twin.cli.app\nprint('numpy' in sys.modules, 'devices.modbus' in sys.modules)\n"
    code += "import twin.cli.release\nprint(*sorted({'scipy', 'paho', 'twin.run', 'twin.store'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("words", [[v] for v in sorted(LATER)])
def test_a_verb_that_is_not_there_yet_names_the_letter_that_brings_it(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "SOMETHING", "--flag", "1"])
    assert isinstance(result.exception, UsageError)
    assert status(result.exception) == USAGE
    letters = re.search(r"letter ([A-Z])(?: to ([A-Z]))? of docs/roadmap.md brings it", str(result.exception))
    assert letters is not None
    roadmap = (ROOT / "docs" / "roadmap.md").read_text(encoding="utf-8")
    for letter in filter(None, letters.groups()):
        assert re.search(rf"^(#+ |- |\*\*|\| ?)\W*{letter}\b", roadmap, re.MULTILINE), f"{letter} is not in the roadmap"


def test_the_command_says_so_without_a_traceback(vpptwin: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = vpptwin("replay", "runs/x", expect=2)
    assert done.stdout == ""
    assert "`vpptwin replay` is not there yet" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_auditor_waits_for_no_library_of_numbers_or_tables() -> None:
    code = "import sys, twin.cli.ledger_reading\nprint(*sorted({'numpy', 'yaml', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stdout.split() == []
