"""The tool that tests the tests: the faults it makes, and how it sees that they are noticed."""

from __future__ import annotations

import random
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mutation import campaign, places
from mutation.__main__ import main
from mutation.operators import Edit, Source
from mutation.places import Mutant, mutants_in
from mutation.selection import Selection, Test
from mutation.swap import Functions
from mutation.trial import Bench, Verdict


def faults(text: str, operator: str = "") -> list[str]:
    """What the lines that are changed become, in the order of the source."""
    text = textwrap.dedent(text)
    found = []
    for mutant in mutants_in(text, "room.py"):
        if operator in ("", mutant.edit.operator):
            changed = Source(text).apply(mutant.edit).splitlines()
            kept = text.splitlines()
            found.append(next(b.strip() for a, b in zip(kept, changed, strict=False) if a != b))
    return found


# Faults


@pytest.mark.parametrize(
    ("operator", "line", "expected"),
    [
        ("compare", "g(a < b)", ["g(a <= b)", "g(a >= b)"]),
        ("compare", "g((a) >= (b))", ["g((a) > (b))", "g((a) < (b))"]),
        ("compare", "g(a is not b)", ["g(a is b)"]),
        ("compare", "g(a not in b)", ["g(a in b)"]),
        ("compare", "g(a == b < c)", ["g(a != b < c)", "g(a == b <= c)", "g(a == b >= c)"]),
        ("junction", "g(a and b or c)", ["g(a and b and c)", "g(a or b or c)"]),
        ("not", "g(not a)", ["g(a)"]),
        ("arithmetic", "g(a // b)", ["g(a / b)"]),
        ("arithmetic", "g(-a)", ["g(a)"]),
        ("arithmetic", "a -= b", ["a += b"]),
        ("arithmetic", "g(min(a, b))", ["g(max(a, b))"]),
        ("arithmetic", "g('a' + b)", []),
        ("constant", "g(3)", ["g(4)", "g((2))"]),
        ("constant", "g(True)", ["g(False)"]),
        ("constant", "g('text', None)", []),
        ("key", "g(a == 'text')", ['g(a == "another")']),
        ("key", "g(a['text'])", ['g(a["another"])']),
        ("condition", "g(a if b else c)", ["g(a if True else c)", "g(a if False else c)"]),
        ("condition", "{a for a in b if c}", ["{a for a in b if True}", "{a for a in b if False}"]),
        ("deletion", "g()", ["pass"]),
        ("deletion", "self.a = b", ["pass"]),
        ("deletion", "a = b", []),
        ("deletion", "raise Error(a)", ["pass"]),
        ("result", "return a", ["return None"]),
        ("result", "return a < b", ["return not (a < b)"]),
        ("result", "return None", []),
        ("keyword", "g(a, b=c)", ["g(a)"]),
        ("keyword", "g(b=c, d=e)", ["g(d=e)", "g(b=c)"]),
    ],
)  # fmt: skip
def test_a_line_and_its_faults(operator: str, line: str, expected: list[str]) -> None:
    assert faults(f"def f():\n    {line}\n", operator) == expected


def test_faults_of_blocks() -> None:
    text = """
        def f():
            with a:
                g()
            with a, b:
                g()
            with a as c:
                g()
            for d in e:
                g()
            while h:
                g()
            if i:
                g()
            try:
                g()
            except BaseException:
                raise
            except (j, k):
                pass
    """
    assert faults(text, "block") == ["if True:", "with b:", "with a:", "for d in ():"]
    assert faults(text, "condition") == ["while False:", "if True:", "if False:"]
    assert faults(text, "caught") == [
        "except ():",
        "except Exception:",
        "except (k,):",
        "except (j,):",
    ]


def test_decorators_that_change_what_a_function_does_are_left_out() -> None:
    text = """
        @property
        def f(): pass
        @cache
        def g(): pass
    """
    assert faults(text, "decorator") == ["@(lambda undecorated: undecorated)"]


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring of 3."""',
        "import a",
        "__all__ = ['a']",
        "if TYPE_CHECKING:\n    g(3)",
        "a: Literal[3]",
        "A: TypeAlias = B[3]",
        "def f(a: Literal[3]) -> Literal[3]: ...",
        "class A:\n    def __repr__(self): return a(3)",
        "@dataclass(slots=True)\nclass A: pass",
        "def f():\n    assert_never(a)",
    ],
)
def test_what_only_readers_see_is_left_alone(text: str) -> None:
    assert faults(text) == []


def test_texts_of_messages_are_left_alone() -> None:
    assert faults("def f():\n    raise Error(f'{a + 3}', 4)") == ["pass"]
    assert faults("def f():\n    log.warning('%d', a + 3)") == ["pass"]


def test_a_name_stays_when_other_functions_change() -> None:
    text = "class A:\n    def f(self):\n        return a < b\n"
    names = [mutant.name for mutant in mutants_in(text, "topics/a.py")]
    assert names == [
        f"topics/a.py::A.f::{one}" for one in ("result::1", "compare::1", "compare::2")
    ]
    longer = [mutant.name for mutant in mutants_in(f"def g():\n    h(3)\n{text}", "topics/a.py")]
    assert longer[-3:] == names
    assert len(set(longer)) == len(longer)


def test_a_mutant_knows_its_room_its_lines_and_when_it_runs() -> None:
    text = """
        class A:
            b: int = 3

            def f(self, c=4):
                if (
                    d
                ):
                    return 5
    """
    found = {
        (mutant.edit.operator, mutant.number, mutant.scope): mutant
        for mutant in mutants_in(textwrap.dedent(text), "topics/a.py")
    }
    field = found["constant", 1, "A"]
    assert (field.room, field.lines, field.when_imported) == ("topics", (2, 9), True)
    default, inner = found["constant", 1, "A.f"], found["constant", 3, "A.f"]
    assert (default.lines, default.when_imported) == ((6, 9), True)
    assert (inner.lines, inner.when_imported) == ((9, 9), False)
    head = found["condition", 1, "A.f"]
    assert (head.lines, head.when_imported) == ((6, 8), False)


def test_almost_all_mutants_of_a_room_are_python() -> None:
    mutants = places.mutants_of(("policies",))[::3]
    assert len(mutants) > 50
    package = places.PROJECT / places.PACKAGE
    assert sum(not mutant.compiles(package) for mutant in mutants) <= 0.02 * len(mutants)


# Which are tried, by which tests


def mutant(file: str, number: int, *, scope: str = "f", line: int = 1) -> Mutant:
    edit = Edit("constant", 0, 1, "2")
    lines = (line, line)
    return Mutant(
        file=file, scope=scope, number=number, edit=edit, lines=lines, when_imported=False
    )


def test_a_sample_is_spread_over_files_and_functions_and_repeatable(tmp_path: Path) -> None:
    for file in ("a.py", "b.py"):
        (tmp_path / file).write_text("1")
    small = [mutant("a.py", n) for n in range(3)]
    large = [mutant("b.py", n, scope=s) for s in "fg" for n in range(50)]
    drawn = campaign.draw([*small, *large], 10, 1, tmp_path)
    assert drawn == campaign.draw([*small, *large], 10, 1, tmp_path)
    assert drawn != campaign.draw([*small, *large], 10, 2, tmp_path)
    assert [m.file for m in drawn].count("a.py") == 3
    assert [m.scope for m in drawn if m.file == "b.py"].count("g") in (3, 4)
    assert len(set(drawn)) == 10
    assert len(campaign.draw([*small, *large], 1000, 1, tmp_path)) == 103


def test_a_sample_holds_what_is_python_only(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    wrong = Mutant(
        file="a.py",
        scope="f",
        number=2,
        edit=Edit("constant", 0, 1, "2 2"),
        lines=(1, 1),
        when_imported=False,
    )
    right = mutant("a.py", 1)
    assert campaign.draw([wrong, right], 10, 1, tmp_path) == [right]


def test_the_nearest_tests_come_first_as_long_as_there_is_time() -> None:
    near = Test("near", 0.01, {"a.py": frozenset({1, 2})})
    far = Test("far", 0.01, {"a.py": frozenset({1}), "b.py": frozenset(range(100))})
    slow = Test("slow", 5.0, {"a.py": frozenset({1, 2})})
    elsewhere = Test("elsewhere", 0.01, {"a.py": frozenset({7})})
    tests = [slow, far, elsewhere, near]
    assert Selection(tests, 60.0).tests_for(mutant("a.py", 1)) == [near, slow, far]
    assert Selection(tests, 1.0).tests_for(mutant("a.py", 1)) == [near, far]
    assert Selection([slow], 1.0).tests_for(mutant("a.py", 1)) == [slow]  # one at least
    assert Selection(tests, 60.0).tests_for(mutant("a.py", 1, line=9)) == []


def test_what_runs_when_imported_is_tried_by_all_tests_of_its_file() -> None:
    user = Test("user", 1.0, {"a.py": frozenset({5})})
    other = Test("other", 0.01, {"a.py": frozenset({50})})
    field = Mutant(
        file="a.py",
        scope="A",
        number=1,
        edit=Edit("constant", 0, 1, "2"),
        lines=(1, 10),
        when_imported=True,
    )
    assert Selection([other, user], 60.0).tests_for(field) == [user, other]
    looks = Test("tests/test_values.py::looks", 0.01, {})
    assert Selection([other, user, looks], 60.0).tests_for(field) == [looks, user, other]


# Put into a process


BEFORE = """
import functools

class A:
    limit = 3

    def plain(self):
        return 1

    def outer(self):
        def inner():
            return 2
        return inner()

    @functools.cache
    def cached(self):
        return 3

NAMES = {A.plain.__code__: A}
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[], types.ModuleType]]:
    """Imports what `BEFORE` says from a file."""
    file = tmp_path / "imported.py"
    file.write_text(BEFORE)

    def load() -> types.ModuleType:
        loaded = types.ModuleType("imported")
        exec(compile(BEFORE, str(file), "exec"), vars(loaded))  # noqa: S102
        sys.modules["imported"] = loaded
        return loaded

    yield load
    sys.modules.pop("imported", None)


def test_functions_are_given_new_code(
    module: Callable[[], types.ModuleType], tmp_path: Path
) -> None:
    loaded = module()
    functions, file = Functions(tmp_path), tmp_path / "imported.py"
    plain = loaded.A.plain
    assert functions.put_in(file, BEFORE, BEFORE.replace("return 1", "return 10"))
    assert (plain(None), loaded.A.plain) == (10, plain)
    assert loaded.NAMES[plain.__code__] is loaded.A
    once = BEFORE.replace("return 1", "return 10")
    assert functions.put_in(file, once, once.replace("return 2", "return 20"))
    assert loaded.A().outer() == 20
    assert functions.put_in(file, BEFORE, BEFORE.replace("return 3", "return 30"))
    assert loaded.A.cached(None) == 30


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("limit = 3", "limit = 4"),
        ("    def plain(self):\n        return 1\n", "    pass\n"),
        ("@functools.cache", "@functools.wraps"),
    ],
)
def test_what_ran_at_the_import_cannot_be_put_in(
    search: str, replace: str, module: Callable[[], types.ModuleType], tmp_path: Path
) -> None:
    loaded = module()
    assert not Functions(tmp_path).put_in(
        tmp_path / "imported.py", BEFORE, BEFORE.replace(search, replace)
    )
    assert loaded.A.limit == 3
    assert loaded.A.plain(None) == 1


# Tried


POLICIES = "tests/test_policies.py"
FATAL = "test_fatal_ends_the_run_at_the_first_failure"
IGNORE = "test_ignore_goes_on_for_ever"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A copy of the project, whose server has collected the tests of policies."""
    bench = Bench([POLICIES])
    yield bench
    bench.close()


def named(name: str) -> Mutant:
    return next(m for m in places.mutants_of(("policies",)) if m.name == name)


def of_policies(*names: str) -> list[Test]:
    return [Test(f"{POLICIES}::{name}", 0.1, {}) for name in names]


@pytest.mark.slow
@pytest.mark.leaves_behind  # the bench is there until the last of these tests
def test_a_fault_is_noticed_by_a_test_that_sees_it_and_by_no_other(bench: Bench) -> None:
    fatal = named("policies.py::Fatal.failed::result::1")
    seen, not_seen = of_policies(FATAL, IGNORE)
    verdict = bench.judge(fatal, [not_seen, seen])
    assert (verdict.killed, verdict.by, verdict.tests) == (True, seen.name, 2)
    assert not bench.judge(fatal, [not_seen]).killed
    assert bench.failing([seen, not_seen]) == []  # the fault is gone again


@pytest.mark.slow
@pytest.mark.leaves_behind
def test_a_fault_of_the_import_is_imported(bench: Bench) -> None:
    bound = named("policies.py::<module>::constant::3")
    assert "CATCH_UP_BOUND" in bound.diff(places.PROJECT / places.PACKAGE)
    assert not bench.judge(bound, of_policies(FATAL)).killed
    assert bench.failing(of_policies(FATAL)) == []


@pytest.mark.slow
@pytest.mark.leaves_behind
def test_a_test_that_is_not_there_is_no_verdict(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="does not know"):
        bench.judge(named("policies.py::Fatal.failed::result::1"), of_policies("test_nothing"))


# Told


def test_the_report_has_the_score_of_each_room_and_the_survivors() -> None:
    policies = places.mutants_of(("policies",))
    survivor, killed = random.Random(1).sample(policies, 2)
    found = [
        (survivor, Verdict(killed=False, by="", tests=1, seconds=1.0)),
        (killed, Verdict(killed=True, by="a test", tests=1, seconds=1.0)),
    ]
    told = campaign.report(found)
    assert "policies      1 of    2 killed,  50.0 %" in told
    assert survivor.diff(places.PROJECT / places.PACKAGE) in told
    assert killed.name not in told


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--sample", "0"], "argument --sample: 0: expected 1 or more"),
        (["--jobs", "-1"], "argument --jobs: -1: expected 1 or more"),
        (["--room", "kitchen"], "invalid choice: 'kitchen'"),
        (["--only", "policies.py::f::compare::1"], "no mutant is named 'policies.py::f::compare"),
    ],
)
def test_bad_arguments(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--room", "policies"])
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


def test_a_sample_is_listed_as_diffs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--room", "policies", "--sample", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 of ")
    assert said.count("\n@@ ") == 2
