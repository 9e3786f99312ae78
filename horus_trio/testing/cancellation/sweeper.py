"""The attempts of `cancel_everywhere`, and how each of them is judged.

An attempt makes an object, uses it, cancels the use at one yield, repeats it, looks at what it did
and what it holds, closes the object, and looks at what is left. The first attempt is not cancelled:
it says how all the others have to end.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import outcome
import trio

from ...errors import ConfigurationError
from ..leftovers import Scene, settled
from ..places import place_of_error
from .attempt import BEFORE, WAITING, WOKEN, Cut, Ending, attend
from .findings import CancellationBroken, Findings, Sweep
from .held import Held, amounts, changes, find_held, is_lock

__all__ = ["Sweeper"]

T = TypeVar("T")
S = TypeVar("S")

GRACE = 1.0
"""Real seconds in which threads and tasks that were told to end may end."""

GRACE_AFTER = 0.05
"""The same, once something was found that does not end."""

CHECKPOINTS = 10_000
"""An operation with more yields than these is taken for one without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """How it is without cancellation."""

    result: object
    observed: object
    left_open: dict[str, int]
    amounts: dict[str, int]


@dataclass(kw_only=True)
class Sweeper(Generic[T]):
    """The attempts at one operation, and what was found in them; see `cancel_everywhere`."""

    make: Callable[[], Any]
    use: Callable[[T], Awaitable[object]]
    observe: Callable[[T], object] | None
    repeat: bool
    same_result: bool
    watch: tuple[object, ...]
    deadline: float

    def __post_init__(self) -> None:
        self.findings: Findings = Findings(self.use)
        self.reference: _Reference | None = None
        self.attempts: int = 0
        self.over: bool = False
        self.grace: float = GRACE
        self.misuse: ConfigurationError | None = None

    async def sweep(self) -> Sweep:
        reference = Cut(record=True)
        await self.attempt(reference)
        if not reference.yields:
            self.findings.add(
                reference,
                "no checkpoint",
                "it never yields to Trio, so it can neither be cancelled nor let others run; "
                "await something in it, such as trio.lowlevel.checkpoint(), or make it a def",
            )
        if not self.findings.found:
            await self.attempt(Cut(0, BEFORE))
            for moment in (WAITING, WOKEN):
                await self.attempt_each(moment)
        if self.findings.found:
            raise self.findings.as_error(self.attempts)
        return Sweep(
            checkpoints=reference.yields,
            attempts=self.attempts,
            lines=tuple(str(place or self.findings.place_of_use) for place in reference.places),
        )

    async def attempt_each(self, moment: str) -> None:
        for checkpoint in itertools.count(1):
            if self.over:
                return
            if checkpoint > CHECKPOINTS:
                raise CancellationBroken(
                    f"the operation has more than {CHECKPOINTS} checkpoints; expected one that "
                    "comes to an end: sweep a smaller part of it",
                    self.findings.found,
                )
            cut = Cut(checkpoint, moment)
            await self.attempt(cut)
            if not cut.fired:
                return

    # One attempt

    async def attempt(self, cut: Cut) -> None:
        """In a task of its own: context managers may open nurseries, which must not be ours."""
        results = list[outcome.Outcome[None]]()

        async def run() -> None:
            results.append(await outcome.acapture(self.make_and_use, cut))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, name="an attempt")
        await trio.lowlevel.checkpoint_if_cancelled()
        results[0].unwrap()
        self.attempts += cut.fired

    async def make_and_use(self, cut: Cut) -> None:
        before = Scene.now()
        resources = contextlib.AsyncExitStack()
        closing: Ending | None = None
        with trio.CancelScope() as shield:  # outside of what the object opens
            try:
                entering = await attend(self.enter, resources, seconds=self.deadline)
                thing: T = self.unwrap(entering, "make()")
                await self.use_and_look(thing, cut)
            finally:
                shield.shield = True
                closing = await attend(resources.aclose, seconds=self.deadline)
        if closing is not None:
            self.judge_closing(closing, cut)
        if not self.over:
            left = await self.settle(lambda: Scene.now().since(before))
            for kind, texts in left.items():
                self.findings.add(
                    cut,
                    f"{kind} left",
                    f"after it, and after its object was closed, expected nothing new, found "
                    f"{_listed(texts)}; end or close it in a `finally`, or a `with`, that also "
                    "runs when cancelled",
                )

    async def enter(self, resources: contextlib.AsyncExitStack) -> Any:
        made: Any = self.make()
        if not hasattr(made, "__aenter__") and inspect.isawaitable(made):
            awaited: Any = await made
            made = awaited
        if is_lock(made):
            pass
        elif hasattr(made, "__aenter__") and hasattr(made, "__aexit__"):
            made = await resources.enter_async_context(made)
        elif hasattr(made, "__enter__") and hasattr(made, "__exit__"):
            made = resources.enter_context(made)
        elif callable(close := getattr(made, "aclose", getattr(made, "close", None))):
            resources.push_async_callback(_call, close)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return made

    async def use_and_look(self, thing: T, cut: Cut) -> None:
        before = Scene.now()
        held = self.find_held(thing)
        closed, result = await self.use_and_repeat(thing, cut)
        if self.over:
            return
        observed: object = None
        if self.observe is not None and result is not None and not closed:
            looking = await attend(_call, self.observe, thing, seconds=self.deadline)
            observed = self.unwrap(looking, "observe()")
        reference = self.reference
        await self.look_at_locks(thing, cut, held)
        left = Scene.now().since(before)
        if reference is None:
            if result is not None:
                self.reference = _Reference(
                    result=result.value,
                    observed=observed,
                    left_open={kind: len(texts) for kind, texts in left.items()},
                    amounts=amounts(self.find_held(thing)),
                )
            return
        self.compare(cut, reference, result, observed, closed)
        allowed = reference.left_open
        grown = await self.settle(
            lambda: {
                kind: texts
                for kind, texts in Scene.now().since(before).items()
                if len(texts) > allowed.get(kind, 0)
            }
        )
        for kind, texts in grown.items():
            self.findings.add(
                cut,
                f"{kind} left",
                f"after it, expected {allowed.get(kind, 0)} new {kind}(s) as without cancellation, "
                f"found {_listed(texts)}; end or close it in a `finally`, or a `with`, that also "
                "runs when cancelled",
            )

    async def use_and_repeat(self, thing: T, cut: Cut) -> tuple[bool, outcome.Value[object] | None]:
        """Returns whether the object says it is closed, and the result if there is one to judge."""
        ending = await self.use_once(thing, cut)
        result = ending.result
        if ending.hung:
            self.find_hang(cut, ending, "it")
        elif isinstance(result, outcome.Error):
            if self.reference is None:
                raise CancellationBroken(
                    f"the operation fails by itself, without being cancelled: {result.error!r}; "
                    "expected it to succeed: try `await use(make())` alone first"
                ) from result.error
            if cut.fired:
                cut.came = place_of_error(result.error)
            if cut.fired and _only(result.error, trio.Cancelled):
                if self.repeat:
                    return await self.use_again(thing, cut)
            else:
                self.findings.add(
                    cut,
                    "raised",
                    f"it raised {result.error!r}, expected it to let trio.Cancelled through; "
                    "catch Cancelled only to clean up, and `raise` it again",
                )
        elif cut.fired and cut.delivered:
            self.findings.add(
                cut,
                "swallowed Cancelled",
                f"it returned {result.value!r:.80}, expected trio.Cancelled, which was raised in "
                "it, to come out; do not catch Cancelled or BaseException without `raise`",
            )
        elif cut.fired or self.reference is None:
            return False, result
        return False, None

    async def use_again(self, thing: T, cut: Cut) -> tuple[bool, outcome.Value[object] | None]:
        ending = await self.use_once(thing, Cut())
        result = ending.result
        if ending.hung:
            self.find_hang(cut, ending, "its repetition")
        elif not isinstance(result, outcome.Error):
            return False, result
        elif _only(result.error, trio.ClosedResourceError, trio.BrokenResourceError):
            return True, None
        else:
            self.findings.add(
                cut,
                "raised",
                f"its repetition, not cancelled, raised {result.error!r}, expected it to succeed "
                "as if it had never been cancelled; leave everything as it was when cancelled, "
                "or raise trio.BrokenResourceError from then on",
            )
        return False, None

    async def use_once(self, thing: T, cut: Cut) -> Ending:
        async def operation() -> object:
            awaitable = self.use(thing)
            if not inspect.isawaitable(awaitable):
                self.misuse = ConfigurationError(
                    f"cancel_everywhere(use=…): expected an async function, got one that returns "
                    f"{awaitable!r:.80}; begin it with `async def`, or return what is to be awaited"
                )
                raise self.misuse
            return await awaitable

        ending = await cut.run(operation, self.deadline)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.misuse is not None:
            raise self.misuse
        if isinstance(ending.result, outcome.Error) and _must_pass(ending.result.error):
            raise ending.result.error
        return ending

    def unwrap(self, ending: Ending, name: str) -> Any:
        """The result of a function of the caller's that is not what is tested."""
        if ending.hung:
            self.over = True
            raise CancellationBroken(
                f"{name} takes more than {self.deadline:g} s; it stands at {ending.stuck}; "
                "expected it to end without being cancelled",
                self.findings.found,
            )
        return ending.result.unwrap()

    # What is looked at

    def find_held(self, thing: T) -> dict[int, Held]:
        roots: dict[str, object] = {"obj": thing}
        roots.update((f"watch[{index}]", watched) for index, watched in enumerate(self.watch))
        roots["use"] = self.use
        roots["the default thread limiter"] = trio.to_thread.current_default_thread_limiter()
        return find_held(roots)

    async def look_at_locks(self, thing: T, cut: Cut, before: dict[int, Held]) -> None:
        allowed = self.reference.amounts if self.reference else amounts(before)
        for problem, state in await self.settle(
            lambda: changes(before, self.find_held(thing), allowed)
        ):
            self.findings.add(
                cut,
                problem,
                f"{state} before; expected it as free as before; hold it in a `with`, or give it "
                "back in a `finally`, exactly once",
            )

    def compare(
        self,
        cut: Cut,
        reference: _Reference,
        result: outcome.Value[object] | None,
        observed: object,
        closed: bool,
    ) -> None:
        if result is None or closed:
            return
        what = "its repetition" if cut.came else "it ended in spite of that, and"
        if self.same_result and not _equal(result.value, reference.result):
            self.findings.add(
                cut,
                "lost or changed",
                f"{what} returned {result.value!r:.80}, expected {reference.result!r:.80} as "
                "without cancellation; take nothing before a checkpoint where it can be lost, "
                "or put it back when cancelled (or pass same_result=False if results differ)",
            )
        if self.observe is not None and not _equal(observed, reference.observed):
            self.findings.add(
                cut,
                "done twice or lost",
                f"afterwards observe() saw {observed!r:.80}, expected {reference.observed!r:.80} "
                "as without cancellation; let no checkpoint that can be cancelled follow the "
                "instant from which it counts as done",
            )

    def judge_closing(self, closing: Ending, cut: Cut) -> None:
        if closing.hung:
            self.find_hang(cut, closing, "the closing of its object")
        elif isinstance(closing.result, outcome.Error):
            error = closing.result.error
            if _must_pass(error):
                raise error
            self.findings.add(
                cut,
                "close failed",
                f"closing its object raised {error!r}, expected it to succeed however the "
                "operation ended; make closing idempotent and independent of the state",
            )

    async def settle(self, look: Callable[[], S]) -> S:
        """What `look` still sees after the grace."""
        left = await settled(look, self.grace)
        if left:
            self.grace = GRACE_AFTER
        return left

    def find_hang(self, cut: Cut, ending: Ending, what: str) -> None:
        self.over = True
        stuck = f"at {ending.stuck}" if ending.stuck else "at an unknown place"
        self.findings.add(
            cut,
            "hangs",
            f"{what} was still running after {self.deadline:g} s, {stuck}; expected an end soon; "
            "shield only what ends by itself, and undo what is half done, so that nobody waits "
            "for it",
            at=ending.stuck if what == "it" else None,
        )


async def _call(function: Callable[..., object], *args: object) -> object:
    """Call a function, and await what it returns if that can be awaited."""
    value = function(*args)
    if inspect.isawaitable(value):
        return await value
    await trio.lowlevel.cancel_shielded_checkpoint()
    return value


def _only(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether it is of these kinds, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)


def _must_pass(error: BaseException) -> bool:
    """Whether it is meant for the whole program."""
    ends = (KeyboardInterrupt, SystemExit, GeneratorExit)
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(ends) is not None
    return isinstance(error, ends)


def _equal(left: object, right: object) -> bool:
    return left is right or bool(left == right)


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return ", ".join(texts[:5]) + more
