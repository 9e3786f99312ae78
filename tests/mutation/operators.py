"""The small faults: what each kind of node of a syntax tree may be changed into.

An operator is given a node, and yields edits: which bytes of the source are replaced, and by what.
Nothing else of the source changes, so lines keep their numbers and frames look as they do. What
only a reader sees, such as annotations and the texts of messages, is not changed; `places` leaves
it out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One fault: an operator's name, and the text that stands where bytes of the source stood."""

    operator: str
    start: int
    end: int
    text: str


class Source:
    """A source file, and where its nodes are in it."""

    def __init__(self, text: str) -> None:
        self.data: bytes = text.encode()
        self.tree: ast.Module = ast.parse(text)
        self._lines: list[int] = [0]
        for line in self.data.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """From which byte to which a node goes, without parentheses around it."""
        where = node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
        first, column, last, end = where
        return self._lines[first - 1] + column, self._lines[last - 1] + end

    def between(self, left: ast.AST, right: ast.AST) -> tuple[int, int, str]:
        """What stands between two nodes: an operator, and parentheses."""
        start, end = self.span(left)[1], self.span(right)[0]
        return start, end, self.data[start:end].decode()

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def replace(self, operator: str, node: ast.AST, text: str) -> Edit:
        """Another text instead of a node, on as many lines."""
        start, end = self.span(node)
        if blank := self.lines_lost(start, end, text):
            text = text + blank if isinstance(node, ast.stmt) else f"({text}{blank})"
        return Edit(operator, start, end, text)

    def lines_lost(self, start: int, end: int, text: str) -> str:
        """The ends of lines that are lost where a text stands instead."""
        return "\n" * (self.data.count(b"\n", start, end) - text.count("\n"))

    def apply(self, edit: Edit) -> str:
        """The source with a fault in it."""
        return (self.data[: edit.start] + edit.text.encode() + self.data[edit.end :]).decode()


Operator = Callable[[Source, ast.AST], Iterator[Edit]]

_COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: (r"\bis\b", ("is not",)),
    ast.IsNot: (r"\bis\s+not\b", ("is",)),
    ast.In: (r"\bin\b", ("not in",)),
    ast.NotIn: (r"\bnot\s+in\b", ("in",)),
}

_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
}


def compare(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Negate comparisons, and shift their boundaries."""
    if not isinstance(node, ast.Compare):
        return
    operands = [node.left, *node.comparators]
    for op, left, right in zip(node.ops, operands, operands[1:], strict=False):
        pattern, others = _COMPARISONS[type(op)]
        start, end, text = source.between(left, right)
        for other in others:
            yield Edit("compare", start, end, re.sub(pattern, other, text, count=1))


def junction(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Swap `and` and `or`, and drop `not`."""
    if isinstance(node, ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            start, end, text = source.between(left, right)
            yield Edit("junction", start, end, re.sub(rf"\b{old}\b", new, text, count=1))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        start, end = source.span(node)
        yield Edit("not", start, end, source.data[start:end].decode().removeprefix("not").lstrip())


def arithmetic(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Swap arithmetic operators for their opposites, and drop signs."""
    if isinstance(node, ast.BinOp):
        if any(isinstance(side, ast.JoinedStr) or _is_text(side) for side in _sides(node)):
            return
        old, new = _ARITHMETIC[type(node.op)]
        start, end, text = source.between(node.left, node.right)
        yield Edit("arithmetic", start, end, text.replace(old, new, 1))
    elif isinstance(node, ast.AugAssign):
        old, new = _ARITHMETIC[type(node.op)]
        start, end, text = source.between(node.target, node.value)
        yield Edit("arithmetic", start, end, text.replace(f"{old}=", f"{new}=", 1))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield source.replace("arithmetic", node, source.text(node).removeprefix("-").lstrip())
    elif isinstance(node, ast.Name) and (other := {"min": "max", "max": "min"}.get(node.id)):
        yield source.replace("arithmetic", node, other)


def constant(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Numbers one larger and one smaller, truth values turned round."""
    if not isinstance(node, ast.Constant):
        return
    if isinstance(node.value, bool):
        yield source.replace("constant", node, str(not node.value))
    elif isinstance(node.value, int | float):
        yield source.replace("constant", node, repr(node.value + 1))
        yield source.replace("constant", node, f"({node.value - 1!r})")


def key(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Another text where one is compared with, looked up, or names an attribute."""
    texts: list[ast.expr] = []
    if isinstance(node, ast.Compare):
        texts = [node.left, *node.comparators]
    elif isinstance(node, ast.Subscript):
        texts = [node.slice]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        texts = node.args if node.func.id in ("getattr", "hasattr") else []
    for text in texts:
        if _is_text(text):
            yield source.replace("key", text, '"another"')


def condition(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Conditions that always hold, or never."""
    if isinstance(node, ast.If | ast.IfExp):
        yield from _forced(source, node.test, "True", "False")
    elif isinstance(node, ast.While):
        yield from _forced(source, node.test, "False")
    elif isinstance(node, ast.comprehension):
        for test in node.ifs:
            yield from _forced(source, test, "True", "False")
    elif isinstance(node, ast.match_case) and node.guard is not None:
        yield from _forced(source, node.guard, "True", "False")


def _forced(source: Source, test: ast.expr, *values: str) -> Iterator[Edit]:
    if isinstance(test, ast.Constant) or any(isinstance(n, ast.NamedExpr) for n in ast.walk(test)):
        return  # what it binds is needed
    for value in values:
        yield source.replace("condition", test, value)


def deletion(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Statements that are left out: calls, waits, assignments, raises, jumps."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield() | ast.YieldFrom()):
            yield source.replace("deletion", node, "yield" if _yields(node.value) else "pass")
        case ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Break() | ast.Continue():
            yield source.replace("deletion", node, "pass")
        case ast.Return(value=None):
            yield source.replace("deletion", node, "pass")
        case ast.Assign(targets=[target]) if _is_kept(target):
            yield source.replace("deletion", node, "pass")
        case ast.AnnAssign(target=target, value=ast.expr()) if _is_kept(target):
            yield source.replace("deletion", node, "pass")


def _is_kept(target: ast.expr) -> bool:
    """Whether an assignment is to something that was there before: without it, all goes on."""
    if isinstance(target, ast.Tuple):
        return all(map(_is_kept, target.elts))
    return isinstance(target, ast.Attribute | ast.Subscript)


def _yields(value: ast.expr) -> bool:
    return isinstance(value, ast.Yield | ast.YieldFrom)


def result(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Other values that are returned."""
    if not isinstance(node, ast.Return) or node.value is None:
        return
    value = node.value
    if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, bool)):
        return
    if isinstance(value, ast.Compare | ast.BoolOp):
        yield source.replace("result", value, f"not ({source.text(value)})")
    elif not (isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)):
        yield source.replace("result", value, "None")


def caught(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Handlers that catch less, or nothing."""
    if not isinstance(node, ast.ExceptHandler) or node.type is None:
        return
    if isinstance(node.type, ast.Tuple):
        for left_out in node.type.elts:
            rest = [source.text(e) for e in node.type.elts if e is not left_out]
            yield source.replace("caught", node.type, f"({', '.join(rest)},)")
    else:
        yield source.replace("caught", node.type, "()")
        if source.text(node.type) == "BaseException":
            yield source.replace("caught", node.type, "Exception")


def block(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Blocks that hold no lock and no scope, and loops over nothing."""
    if isinstance(node, ast.With | ast.AsyncWith):
        if len(node.items) == 1:
            if node.items[0].optional_vars is None:
                start = source.span(node)[0]
                end = source.span(node.items[0].context_expr)[1]
                blank = source.lines_lost(start, end, "")
                yield Edit("block", start, end, f"if (True{blank})" if blank else "if True")
            return
        for index, item in enumerate(node.items):
            if item.optional_vars is None:
                yield _without(source, "block", [i.context_expr for i in node.items], index)
    elif isinstance(node, ast.For):
        yield source.replace("block", node.iter, "()")


def keyword(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Calls without one of their keywords."""
    if not isinstance(node, ast.Call):
        return
    arguments: list[ast.AST] = [*node.args, *node.keywords]
    for index, argument in enumerate(arguments):
        if isinstance(argument, ast.keyword) and argument.arg is not None:
            yield _without(source, "keyword", arguments, index)


def _without(source: Source, operator: str, items: list[ast.AST] | list[ast.expr], n: int) -> Edit:
    """Leave out one of several things with commas between."""
    start, end = source.span(items[n])
    if n > 0:
        start = source.span(items[n - 1])[1]
    elif len(items) > 1:
        end = source.span(items[1])[0]
    return Edit(operator, start, end, source.lines_lost(start, end, ""))


def decorator(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Functions without a decorator that changes how they behave."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for one in node.decorator_list:
            if source.text(one).rpartition(".")[2] not in _DEFINING:
                yield source.replace("decorator", one, "(lambda undecorated: undecorated)")


_DEFINING = {
    "property",
    "setter",
    "staticmethod",
    "classmethod",
    "abstractmethod",
    "overload",
    "override",
    "contextmanager",
    "asynccontextmanager",
}
"""Decorators without which a thing is no longer the same thing: any test of it fails."""


def _sides(node: ast.BinOp) -> tuple[ast.expr, ast.expr]:
    return node.left, node.right


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


OPERATORS: tuple[Operator, ...] = (
    compare,
    junction,
    arithmetic,
    constant,
    key,
    condition,
    deletion,
    result,
    caught,
    block,
    keyword,
    decorator,
)
