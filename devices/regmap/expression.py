"""Derived points: + - * / and brackets over names of points. A parser of ten lines of grammar, no eval.

sum = product {("+"|"-") product};  product = factor {("*"|"/") factor};  factor = "-" factor | name | "(" sum ")"
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from devices.regmap.errors import RegmapError

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[-+*/()])")
_OPS: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
)
DEPTH = 32
"""Nesting beyond this is refused: nobody writes it, and the parser is recursive."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed formula in postfix order: names, and operators among `+ - * / neg`."""

    text: str
    postfix: tuple[str, ...]
    names: frozenset[str]

    def value(self, values: Mapping[str, object]) -> float | None:
        """None when a name is missing or not a number, on division by zero and on overflow."""
        stack: list[float] = []
        for item in self.postfix:
            if item in _OPS:
                right, left = stack.pop(), stack.pop()
                if item == "/" and right == 0:
                    return None
                stack.append(_OPS[item](left, right))
            elif item == "~":
                stack.append(-stack.pop())
            else:
                found = values.get(item)
                if not isinstance(found, (int, float)):
                    return None
                stack.append(found)
        return stack[0] if math.isfinite(stack[0]) else None


def parse(text: str) -> Expression:
    """Raises RegmapError saying what is wrong at which character."""
    postfix: list[str] = []
    parser = _Parser(text, _tokens(text), postfix)
    parser.sum(0)
    if parser.at < len(parser.tokens):
        raise RegmapError(f"unexpected {parser.tokens[parser.at]!r} in {text!r}")
    return Expression(text, tuple(postfix), frozenset(item for item in postfix if item not in _OPS and item != "~"))


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if found is None:
            raise RegmapError(
                f"character {at + 1} of {text!r}",
                mend="only names of points, + - * / and brackets; for factors use scale",
            )
        tokens.append(found[1])
        at = found.end()
    return tokens


@dataclass(slots=True)
class _Parser:
    text: str
    tokens: list[str]
    out: list[str]
    at: int = 0

    def sum(self, depth: int) -> None:
        self._chain("+-", self.product, depth)

    def product(self, depth: int) -> None:
        self._chain("*/", self.factor, depth)

    def _chain(self, signs: str, part: Callable[[int], None], depth: int) -> None:
        part(depth)
        while self.at < len(self.tokens) and self.tokens[self.at] in signs:
            sign = self.tokens[self.at]
            self.at += 1
            part(depth)
            self.out.append(sign)

    def factor(self, depth: int) -> None:
        if depth > DEPTH:
            raise RegmapError(f"{self.text!r} is nested too deep")
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        self.at += 1
        if token == "-":
            self.factor(depth + 1)
            self.out.append("~")
        elif token == "(":
            self.sum(depth + 1)
            if self.at >= len(self.tokens) or self.tokens[self.at] != ")":
                raise RegmapError(f"a bracket is not closed in {self.text!r}")
            self.at += 1
        elif token is None or not (token[0].isalpha() or token[0] == "_"):
            raise RegmapError(f"a point's name is missing in {self.text!r}")
        else:
            self.out.append(token)
