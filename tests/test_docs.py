"""The pages under docs/ and the README stay true: links, paths, commands, and tables that stand beside code."""

from __future__ import annotations

import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from typer.testing import CliRunner

from controller.testing import check_mechanism
from devices.gateway.setpoints import FINAL, TRANSITIONS, State
from devices.regmap.loader import parse_map
from twin.cli.app import app
from twin.cli.later import LATER
from twin.document.fields import Field, Shape
from twin.site import load_site
from twin.site.models import BEHAVIOUR, COSTS, MODELS
from twin.site.sections import BLOCK, BUDGET, TOP
from twin.summary import Summary

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SKIPPED = "<!-- not executed by the tests"
FENCE = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>\w*)\n(?P<body>.*?)\n```", re.DOTALL)
PATH = re.compile(r"`((?:devices|controller|ledger|twin|tests|examples|docs|benchmarks)/[\w./-]*)`")
OF_A_MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|var|opt|usr/local)/")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text_of(page))


def blocks(page: Path, language: str) -> Iterator[str]:
    """Code blocks of a language, but those marked as not executed."""
    for found in FENCE.finditer(text_of(page)):
        if found["language"] == language and not found["before"].startswith(SKIPPED):
            yield found["body"]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings as links write them."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        goal = (page.parent / file).resolve() if file else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_paths_of_the_repository_exist(name: str) -> None:
    gone = [path for path in PATH.findall(prose_of(ROOT / name)) if not (ROOT / path).exists()]
    assert gone == []


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_somebodys_machine(name: str) -> None:
    assert OF_A_MACHINE.findall(text_of(ROOT / name)) == []


def commands(page: Path) -> list[list[str]]:
    """Words after `$ vpptwin` of all console blocks that end by themselves."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ vpptwin ")]


def test_the_quick_start_works(vpptwin: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in an empty folder beside the examples, each with status 0."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    found = commands(DOCS / "quickstart.md")
    assert {words[0] for words in found} >= {"check", "run", "ledger"}
    for words in found:
        if words[0] == "run":  # has processes and signals of its own
            vpptwin(*words, cwd=tmp_path)
        else:
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, f"{words}: {result.exception or result.output}"


def test_the_commands_that_pages_show_are_there(vpptwin: Callable[..., Any]) -> None:
    shown = {word for page in PAGES for word in re.findall(r"^\$? ?vpptwin (\w+)", text_of(page), re.MULTILINE)}
    assert shown & set(LATER) == set()
    assert shown <= set(re.findall(r"^  (\w+)\s", vpptwin("--help").stdout.partition("Commands:")[2], re.MULTILINE))


def drawing() -> str:
    """The life of an order as docs/architecture.md draws it, made from the table."""
    events: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (state, event), (after, _) in TRANSITIONS.items():
        events[state, after].append(event.value)
    order = list(State)
    edges = sorted(events, key=lambda edge: (order.index(edge[0]), order.index(edge[1])))
    lines = ["stateDiagram-v2", f"    [*] --> {State.QUEUED.value}"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(sorted(events[a, b]))}" for a, b in edges]
    return "\n".join([*lines, *(f"    {state.value} --> [*]" for state in order if state in FINAL)])


def test_the_drawing_of_setpoints_is_the_table() -> None:
    assert list(blocks(DOCS / "architecture.md", "mermaid")) == [drawing()], "put this drawing there"


def keys_of(shape: Shape) -> Iterator[str]:
    """Keys of a section and, where they can be seen, of the sections in it."""
    for key, spec in shape.items():
        yield key
        yield from _inner(spec)


def _inner(spec: Field) -> Iterator[str]:
    closed = [cell.cell_contents for cell in getattr(spec.check, "__closure__", None) or ()]
    for value in closed:
        if isinstance(value, dict):
            yield from keys_of(value)
        elif callable(value):
            yield from _inner(Field(value))


def test_every_key_of_the_site_file_is_described() -> None:
    shapes = (TOP, BLOCK, BUDGET, BEHAVIOUR, *MODELS.values(), *COSTS.values())
    wanted = {key for shape in shapes for key in keys_of(shape)}
    assert {"tick_s", "netting", "timeout_s", "failsafe", "soc0_pu"} <= wanted
    page = text_of(DOCS / "site-file.md")
    missing = {key for key in wanted if not re.search(rf"(`|\.|^## ){re.escape(key)}(`|\.|$)", page, re.MULTILINE)}
    assert missing == set(), "describe them in docs/site-file.md"


def fields_of(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(kind).items():
        inner = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        if inner:
            yield from fields_of(inner[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_field_of_the_summary_is_described() -> None:
    page = text_of(DOCS / "quickstart.md").partition("## summary.json")[2]
    missing = []
    for name in fields_of(Summary):
        short = "." + name.partition(".")[2]  # a row may name `setpoints.rejected`, `.expired`
        if f"`{name}`" not in page and f"`{short}`" not in page:
            missing.append(name)
    assert missing == [], "describe them in docs/quickstart.md"


def test_the_site_file_of_the_page_is_a_site(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    *_, example = blocks(DOCS / "site-file.md", "yaml")
    path = tmp_path / "sites" / "example.yaml"
    path.write_text(example, encoding="utf-8")
    assert load_site(path).id == "two-homes"


def test_the_mechanism_of_the_page_passes_the_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, use, *_ = blocks(DOCS / "development.md", "python")
    (tmp_path / "tariff_only.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    space: dict[str, Any] = {}
    try:
        exec(compile(use, "development.md", "exec"), space)
        assert space["check_mechanism"] is check_mechanism
        assert space["TariffOnly"].name == "tariff-only"
    finally:
        sys.modules.pop("tariff_only", None)


def test_the_register_map_of_the_page_is_one() -> None:
    found, *_ = blocks(DOCS / "development.md", "yaml")
    assert set(parse_map(found, "development.md").points) == {"p_w", "u1_v", "e_imp_wh", "e_exp_wh"}
