"""Where in the engine a fault can be: all mutants, each with a name that stays.

A mutant's name is its file, the function it is in, the operator and a number, such as
``timer.py::Alarm.set::compare::2``: it stays the same while its function does.
"""

from __future__ import annotations

import ast
import collections
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .operators import OPERATORS, Edit, Source

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = "horus_trio"
ROOMS = ("policies", "health", "timer", "topics", "executor", "scheduler")

_LOGGING = {"debug", "info", "warning", "error", "exception", "critical", "log", "add_note"}
_COSMETIC = {"__repr__", "__str__"}
_FOR_READERS = {"__all__", "__slots__"}
_STARTS = {"Thread", "start_soon", "start", "spawn_system_task"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault in one file.

    Attributes:
        file: The file, from the package's folder.
        scope: The function or class it is in.
        number: Which one it is among those of the same operator and scope.
        edit: What is changed.
        lines: The lines whose tests may notice it, from the first to the last.
        when_imported: Whether the changed code runs only when the module is imported.
    """

    file: str
    scope: str
    number: int
    edit: Edit
    lines: tuple[int, int]
    when_imported: bool

    @property
    def name(self) -> str:
        return f"{self.file}::{self.scope}::{self.edit.operator}::{self.number}"

    @property
    def room(self) -> str:
        return self.file.partition("/")[0].removesuffix(".py")

    def source(self, package: Path) -> str:
        """The file with the fault in it."""
        return Source((package / self.file).read_text()).apply(self.edit)

    def compiles(self, package: Path) -> bool:
        """Whether what it makes is Python: a few edits leave something that is not."""
        try:
            compile(self.source(package), self.file, "exec", dont_inherit=True)
        except SyntaxError:
            return False
        return True

    def diff(self, package: Path) -> str:
        """What is changed, for a reader."""
        before = (package / self.file).read_text().splitlines()
        after = self.source(package).splitlines()
        lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
        return "\n".join([self.name, *lines])


def files_of(room: str, package: Path = PROJECT / PACKAGE) -> list[Path]:
    """The files of a room, which is a module or a folder."""
    module = package / f"{room}.py"
    return [module] if module.exists() else sorted((package / room).rglob("*.py"))


def mutants_of(rooms: tuple[str, ...], package: Path = PROJECT / PACKAGE) -> list[Mutant]:
    """All mutants of some rooms, in the order of the sources."""
    found: list[Mutant] = []
    for room in rooms:
        for path in files_of(room, package):
            found += mutants_in(path.read_text(), path.relative_to(package).as_posix())
    return found


def mutants_in(text: str, file: str) -> list[Mutant]:
    """All mutants of one file."""
    source = Source(text)
    numbers: collections.Counter[tuple[str, str]] = collections.Counter()
    found: list[Mutant] = []
    for place in _Walk(source).places():
        seen: set[Edit] = set()
        for operator in OPERATORS:
            for edit in operator(source, place.node):
                if edit in seen or source.data[edit.start : edit.end] == edit.text.encode():
                    continue
                seen.add(edit)
                numbers[place.scope, edit.operator] += 1
                found.append(
                    Mutant(
                        file=file,
                        scope=place.scope,
                        number=numbers[place.scope, edit.operator],
                        edit=edit,
                        lines=place.lines,
                        when_imported=place.when_imported,
                    )
                )
    return found


def lines_of_functions(text: str) -> set[int]:
    """The lines that run when functions are called, not when the file is imported."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            body = node.body if isinstance(node.body, list) else [node.body]
            found.update(range(body[0].lineno, (node.end_lineno or 0) + 1))
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    node: ast.AST
    scope: str
    lines: tuple[int, int]
    when_imported: bool


class _Walk:
    """Goes through a file, and leaves out what only readers see."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def places(self) -> Iterator[_Place]:
        tree = self._source.tree
        last = len(self._source.data.splitlines())
        yield from self._body(tree.body, _Place(tree, "<module>", (1, last), True))

    def _body(self, body: list[ast.stmt], around: _Place) -> Iterator[_Place]:
        for statement in body:
            yield from self._statement(statement, around)

    def _statement(self, node: ast.stmt, around: _Place) -> Iterator[_Place]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from self._function(node, around)
            case ast.ClassDef():
                scope = self._inner(around, node.name)
                inside = _Place(node, scope, (node.lineno, node.end_lineno or 0), True)
                for decorated in node.decorator_list:
                    yield from self._expression(decorated, inside)
                yield from self._body(node.body, inside)
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]) if name in _FOR_READERS:
                pass
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "ParamSpec"))):
                pass
            case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
                pass
            case _:
                yield from self._plain(node, self._at(node, around))

    def _at(self, node: ast.stmt, around: _Place) -> _Place:
        """The place of a statement: the lines of its head, if it has a body."""
        if around.when_imported:
            return _Place(node, around.scope, around.lines, True)
        last = node.end_lineno or node.lineno
        if body := getattr(node, "body", None) or getattr(node, "cases", None):
            first = body[0].body[0] if isinstance(body[0], ast.match_case) else body[0]
            last = max(node.lineno, first.lineno - 1)
        return _Place(node, around.scope, (node.lineno, last), False)

    def _plain(self, node: ast.stmt, place: _Place) -> Iterator[_Place]:
        in_constructor = place.scope.endswith("__init__") or place.scope == "<module>"
        if not (in_constructor and isinstance(node, ast.Assign | ast.AnnAssign)):
            yield place  # what is not even made is missed by any test
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from self._expression(node.value, place)
            return
        if isinstance(node, ast.Raise):
            return  # the rest is a message
        yield from self._children(node, place)

    def _children(self, node: ast.AST, place: _Place) -> Iterator[_Place]:
        for name, value in ast.iter_fields(node):
            if name == "annotation":
                continue
            for child in value if isinstance(value, list) else [value]:
                match child:
                    case ast.stmt():
                        yield from self._statement(child, place)
                    case ast.ExceptHandler():
                        body = child.body[0]
                        head = (child.lineno, max(child.lineno, body.lineno - 1))
                        yield _Place(child, place.scope, head, place.when_imported)
                        yield from self._body(child.body, place)
                    case ast.match_case():
                        yield _Place(child, place.scope, place.lines, place.when_imported)
                        if child.guard is not None:
                            yield from self._expression(child.guard, place)
                        yield from self._body(child.body, place)
                    case ast.expr() | ast.comprehension() | ast.withitem() | ast.keyword():
                        yield from self._expression(child, place)

    def _expression(self, node: ast.AST, place: _Place) -> Iterator[_Place]:
        if isinstance(node, ast.JoinedStr):
            return
        if isinstance(node, ast.Call):
            yield from self._call(node, place)
            return
        yield _Place(node, place.scope, place.lines, place.when_imported)
        yield from self._children(node, place)

    def _call(self, node: ast.Call, place: _Place) -> Iterator[_Place]:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in _LOGGING or called.endswith("Error"):
            return  # its arguments are a message
        here = _Place(node, place.scope, place.lines, place.when_imported)
        if called == "dataclass":
            for option in node.keywords:
                if option.arg != "slots":
                    yield from self._expression(option.value, here)
            return
        if called == "cast":
            yield from self._expression(node.args[1], here)
            return
        if not (called in _STARTS and any(k.arg == "name" for k in node.keywords)):
            yield here
        yield from self._children(node, here)

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, around: _Place
    ) -> Iterator[_Place]:
        decorated = {self._source.text(one) for one in node.decorator_list}
        if node.name in _COSMETIC or "overload" in decorated:
            return
        scope = self._inner(around, node.name)
        lines = (node.body[0].lineno, node.end_lineno or 0)
        head = _Place(node, scope, lines, False)
        yield head
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                yield from self._expression(default, _Place(node, scope, lines, True))
        if "abc.abstractmethod" not in decorated:
            yield from self._body(node.body, head)

    @staticmethod
    def _inner(around: _Place, name: str) -> str:
        return name if around.scope == "<module>" else f"{around.scope}.{name}"
