"""YAML with line numbers: nodes instead of plain values, so that every finding can name its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from twin.document.problems import Problem

_MERGE = "tag:yaml.org,2002:merge"
_KINDS = {bool: "true/false", int: "a number", float: "a number", str: "text", type(None): "empty"}


@dataclass(slots=True)
class Report:
    """Problems found so far, in the order of finding."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, line: int, path: str, what: str, mend: str = "") -> None:
        """Note one problem."""
        self.problems.append(Problem(line, path, what, mend))


@dataclass(frozen=True, slots=True)
class Item:
    """One node of the document with its path (`devices[7].unit`) and the report that collects what is wrong."""

    node: yaml.Node
    path: str
    report: Report
    loader: yaml.SafeLoader

    @property
    def line(self) -> int:
        """Line in the file, from 1."""
        return int(self.node.start_mark.line) + 1

    @property
    def raw(self) -> str:
        """Text of a scalar as written."""
        return str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else ""

    @property
    def plain(self) -> bool:
        """True for a scalar written without quotes."""
        return isinstance(self.node, yaml.ScalarNode) and self.node.style is None

    def refuse(self, what: str, mend: str = "") -> None:
        """Note a problem at this place."""
        self.report.add(self.line, self.path, what, mend)

    def value(self) -> Any:
        """The scalar as YAML types it (int, float, bool, str, None, date); a list or mapping gives itself."""
        if not isinstance(self.node, yaml.ScalarNode):
            return self.node
        try:
            return self.loader.construct_object(self.node, deep=True)
        except (ValueError, yaml.YAMLError):
            return self.raw

    def kind(self) -> str:
        """What this is, in words, for messages: `'abc' is text`."""
        if isinstance(self.node, yaml.MappingNode):
            return "this is a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "this is a list"
        value = self.value()
        if value is None:
            return "this is empty"
        return f"{self.raw!r} is {_KINDS.get(type(value), 'a date')}"

    def entries(self) -> dict[str, Item] | None:
        """Children of a mapping by key; a problem and None when this is no mapping, a problem per repeated key."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(self.kind(), "a mapping (name: value) is wanted")
            return None
        self._refuse_repeats(self.node)
        self.loader.flatten_mapping(self.node)
        return {key.value: self._child(key, child) for key, child in self.node.value if self._named(key)}

    def key_lines(self) -> dict[str, int]:
        """Line of each key of a mapping."""
        pairs = self.node.value if isinstance(self.node, yaml.MappingNode) else []
        return {str(key.value): int(key.start_mark.line) + 1 for key, _ in pairs}

    def elements(self) -> Iterator[Item]:
        """Children of a list; a problem and nothing when this is no list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(self.kind(), "a list is wanted")
            return
        for k, child in enumerate(self.node.value):
            yield Item(child, f"{self.path}[{k}]", self.report, self.loader)

    def _child(self, key: yaml.ScalarNode, child: yaml.Node) -> Item:
        path = f"{self.path}.{key.value}" if self.path else str(key.value)
        return Item(child, path, self.report, self.loader)

    def _named(self, key: yaml.Node) -> bool:
        if isinstance(key, yaml.ScalarNode):
            return True
        self.report.add(int(key.start_mark.line) + 1, self.path, "a key is a list or mapping", "a name is wanted")
        return False

    def _refuse_repeats(self, node: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line = int(key.start_mark.line) + 1
            if key.value in seen:
                path = f"{self.path}.{key.value}" if self.path else str(key.value)
                self.report.add(line, path, f"given twice (first in line {seen[key.value]})", "keep one")
            seen.setdefault(key.value, line)


def parse(text: str, report: Report) -> Item | None:
    """The root of a YAML text, or None with a problem noted (syntax, empty)."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = int(mark.line) + 1 if mark else 0
        report.add(line, "", f"not YAML: {error.problem or error.context}", "mind indentation, colons and quotes")
        return None
    except yaml.YAMLError as error:
        report.add(0, "", f"not YAML: {str(error).splitlines()[0]}", "save it as UTF-8 text")
        return None
    if node is None:
        report.add(0, "", "the file is empty", "start from examples/sites/homes.yaml")
        return None
    return Item(node, "", report, loader)
