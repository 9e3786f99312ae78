"""The rules for nodes, in the order in which `check_node` tries them."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator

from ...errors import nearest
from ...node import Node
from ...policies import Restart
from ..cancellation import CancellationBroken, cancel_everywhere
from ..faults import Faults
from ..leftovers import Scene
from .contract import ContractBroken, broken, outline
from .node_bench import SEED, Bench, Calls, Specimen, Subject, open_bench, require_clean, seated
from .steps import watch_steps

__all__ = ["NODE_RULES"]

LEAST_LIMIT = 0.5
"""Real seconds for which a step may hold the loop up at least: a busy machine does so, too."""

HANG_TIMEOUT = 0.5
"""The ``tick_timeout`` of a tick that hangs, in virtual seconds."""


async def _run(rule: str, specimen: Specimen, node: Node, *, clean: bool = True) -> None:
    """A plain run: ticks with inputs, and a stop."""
    async with open_bench(rule, specimen, node, clean=clean) as bench:
        await bench.require_running("after init")
        for _ in range(specimen.ticks):
            await bench.tick_well()
            await bench.require_running("between ticks")


async def life_cycle(specimen: Specimen) -> None:
    """It is initialised, ticks with its inputs, and stops; nothing fails."""
    await _run("life cycle", specimen, specimen.make(), clean=False)


async def does_not_block(specimen: Specimen) -> None:
    """No step of its ``async`` hooks holds the loop up."""
    hooks = specimen.hooks
    every = (hooks.tick, hooks.init, hooks.shutdown, hooks.on_error, hooks.enter_safe_state)
    if not any(hook is not None and hook.is_async for hook in every):
        return
    rule, limit = "does not block", max(LEAST_LIMIT, specimen.real_limit / 10)
    step = None
    for _ in range(2):  # once may be the machine, or the first import
        with watch_steps(limit) as watch:
            await _run(rule, specimen, specimen.make(), clean=False)
        step = watch.longest
        if step is None:
            return
    if step is not None:
        where = "" if step.place is None else f", at {step.place}"
        raise broken(
            rule,
            expected=f"every step on the loop to take less than {limit:g} s",
            came=f"one took {step.seconds:.2g} s{where}, in which no other node could run",
            remedy="await something, or block in a thread: make the hook a plain def, or use "
            "trio.to_thread.run_sync",
        )


async def leaves_nothing(specimen: Specimen) -> None:
    """After its stop there is nothing new, while the node itself is still there."""
    before, node = Scene.now(), specimen.make()
    await _run("leaves nothing", specimen, node, clean=False)
    await require_clean("leaves nothing", before)
    del node


async def declared_topics(specimen: Specimen) -> None:
    """If it declares topics that it writes, it writes no others."""
    declared = [pub.topic for pub in specimen.options.pubs]
    if not declared:
        return
    rule = "declared topics"
    async with open_bench(rule, specimen, specimen.make()) as bench:
        for _ in range(specimen.ticks):
            await bench.tick_well()
    for topic in bench.sent():
        if topic not in declared:
            raise broken(
                rule,
                expected=f"it to send only to what its pubs name, {', '.join(declared)}",
                came=f"it sent to {topic!r}{nearest(topic, declared)}",
                remedy="add the topic to pubs, or correct its name",
            )


async def fresh_instances(specimen: Specimen) -> None:
    """Each is a node of its own, and the same one can be run again."""
    rule = "fresh instances"
    first = specimen.make()
    async with open_bench(rule, specimen, first) as bench:
        await bench.tick_well(" of the first instance")
        second = specimen.make()  # as a restart does
        if second is first:
            raise broken(
                rule,
                expected="make_node() to make another node at each call",
                came=f"it returned the same {first!r} again",
                remedy="pass the class, or make the node inside the function",
            )
        await bench.tick_well(" of the first instance, once there is a second,")
    for node, which in ((second, "the second instance"), (first, "the first instance, run again,")):
        async with open_bench(rule, specimen, node) as bench:
            await bench.require_running(f"after init of {which}")
            await bench.tick_well(f" of {which}")


async def restart(specimen: Specimen) -> None:
    """A failed tick is followed by one ``shutdown`` and one ``init``, and it ticks again."""
    rule = "restart"
    same = specimen.make()
    nodes: tuple[tuple[str, Node | Callable[[], Node]], ...] = (
        ("the same instance", same),
        ("a fresh instance", specimen.make),
    )
    for which, node in nodes:
        faults = Faults(SEED)
        calls = Calls(faults, specimen.name)
        async with open_bench(rule, specimen, node, faults=faults, policy=_restart_once()) as bench:
            await bench.tick_well()
            bench.harness.fail("tick", OSError("a fault of check_node"), at=1)
            await bench.tick()
            await bench.until_running(1, f"after a restart with {which}")
            _judge_calls(bench, calls, inits=2, shutdowns=1)
            await bench.tick_well(f" after a restart with {which}")


async def failed_init(specimen: Specimen) -> None:
    """An ``init`` that failed can be repeated, and then nothing of it is left at the end."""
    hook = specimen.hooks.init
    if hook is None:
        return
    rule = "failed init"
    faults = Faults(SEED)
    faults.partial("init", OSError("a fault of check_node"), at=1)
    # What the failed init opened and the next one replaces is closed as garbage: that will do.
    with _garbage_allowed():
        async with open_bench(
            rule, specimen, specimen.make(), faults=faults, policy=_restart_once()
        ) as bench:
            await bench.until_running(1, "once an init that failed was repeated")
            await bench.tick_well(" after an init that was repeated")
        if hook.is_async:
            await _sweep(rule, specimen, Subject.init, drops_init=True)


async def cancelled_ticks(specimen: Specimen) -> None:
    """An ``async`` tick, cancelled anywhere, ends; and the node ticks on."""
    if specimen.hooks.tick.is_async:
        await _sweep("cancelled ticks", specimen, Subject.tick)


async def _sweep(
    rule: str,
    specimen: Specimen,
    use: Callable[[Subject], Awaitable[object]],
    *,
    drops_init: bool = False,
) -> None:
    def make() -> contextlib.AbstractAsyncContextManager[Subject]:
        faults = Faults(SEED)
        if drops_init:
            faults.drop("init", at=1)  # it is called by hand instead
        return seated(rule, specimen, faults)

    try:
        await cancel_everywhere(make, use, same_result=False, deadline=specimen.real_limit)
    except CancellationBroken as error:
        raise ContractBroken(
            rule, f"expected it to survive a cancellation at each of its checkpoints; {error}"
        ) from error


async def safe_state(specimen: Specimen) -> None:
    """``enter_safe_state`` works at any time, and twice."""
    if specimen.hooks.enter_safe_state is None:
        return
    rule = "safe state"
    async with open_bench(rule, specimen, specimen.make()) as bench:
        await _make_safe(bench, "before the first tick")
        for _ in range(specimen.ticks):
            await bench.tick_well()
        await _make_safe(bench, "after ticks")
        await _make_safe(bench, "twice in a row")
        bench.harness.fail("tick", OSError("a fault of check_node"), at=1)
        await bench.tick()
        await _make_safe(bench, "after a tick that failed")
        await bench.tick_well(" after enter_safe_state")


async def _make_safe(bench: Bench, when: str) -> None:
    errors = await bench.make_safe()
    if errors:
        limit = bench.runner.options.shutdown_timeout
        raise broken(
            bench.rule,
            expected=f"enter_safe_state to succeed {when}, within {limit:g} s",
            came=errors[0].rstrip(),
            remedy="let it depend on no state: it is called in emergencies, perhaps more than once",
        )


async def stop_at_any_time(specimen: Specimen) -> None:
    """It can be stopped before its first tick, in ``init``, and in a tick."""
    await _stop_before_any_tick(specimen)
    if specimen.hooks.init is not None:
        await _stop_in_init(specimen)
    await _stop_in_tick(specimen)
    await _stop_in_hung_tick(specimen)


_STOP = "stop at any time"


async def _stop_before_any_tick(specimen: Specimen) -> None:
    faults = Faults(SEED)
    calls = Calls(faults, specimen.name)
    async with open_bench(_STOP, specimen, specimen.make(), faults=faults) as bench:
        pass
    _judge_end(bench, calls)


async def _stop_in_init(specimen: Specimen) -> None:
    async def stop(node: Node) -> None:
        node.request_stop("check_node stops it in init")

    def do_nothing(node: Node) -> None: ...

    async def stop_it(delay: float) -> None:
        faults = Faults(SEED)
        if delay:
            faults.delay("init", delay, node=specimen.name)
        calls = Calls(faults, specimen.name)
        stopper = Node(
            "the stop of check_node",
            tick=do_nothing,
            init=stop,
            order=specimen.options.order,
        )
        async with open_bench(_STOP, specimen, specimen.make(), stopper, faults=faults) as bench:
            pass
        _judge_end(bench, calls)

    for delay in (0.0, 0.1):
        await stop_it(delay)


async def _stop_in_tick(specimen: Specimen) -> None:
    faults = Faults(SEED)
    calls = Calls(faults, specimen.name)
    async with open_bench(_STOP, specimen, specimen.make(), faults=faults) as bench:
        await bench.begin_tick()
    _judge_end(bench, calls)


async def _stop_in_hung_tick(specimen: Specimen) -> None:
    if specimen.hooks.tick.is_async:
        await _hang_and_stop(specimen, on_loop=True)
        return
    # The thread is out for good. Then shutdown runs in another one, where it may well fail: a
    # connection of sqlite3 cannot be closed there.
    with _garbage_allowed():
        await _hang_and_stop(specimen, on_loop=False)
        gc.collect()


async def _hang_and_stop(specimen: Specimen, *, on_loop: bool) -> None:
    for timeout in (None, HANG_TIMEOUT):
        faults = Faults(SEED)
        faults.hang("tick", at=2)
        calls = Calls(faults, specimen.name)
        async with open_bench(
            _STOP,
            specimen,
            specimen.make(),
            faults=faults,
            tick_timeout=timeout,
            clean=on_loop,
            heeds_hooks=on_loop,
        ) as bench:
            await bench.tick_well()
            if timeout is None:
                await bench.begin_tick()
            else:
                await bench.tick()
                if on_loop:
                    await bench.tick_well(" after one that timed out")
        if on_loop:
            _judge_end(bench, calls)


@contextlib.contextmanager
def _garbage_allowed() -> Iterator[None]:
    """What is not closed, and no more used, is closed by Python without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def _restart_once() -> Restart:
    return Restart(max_restarts=1, backoff=0.0, jitter=0.0)


def _judge_end(bench: Bench, calls: Calls) -> None:
    hooks = bench.runner._hooks
    inits = calls.inits if hooks.init is not None else 1
    _judge_calls(bench, calls, inits=inits, shutdowns=inits)


def _judge_calls(bench: Bench, calls: Calls, *, inits: int, shutdowns: int) -> None:
    """Calls of hooks that it does not have are not asked for."""
    hooks = bench.runner._hooks
    came = {"init": calls.inits, "shutdown": calls.shutdowns}
    asked = {"init": inits, "shutdown": shutdowns}
    for name in came:
        if getattr(hooks, name) is not None and came[name] != asked[name]:
            error = bench.runner.init_error
            raise broken(
                bench.rule,
                expected=f"{asked[name]} call(s) of {name}",
                came=f"there were {came[name]}" + (f": {outline(error)}" if error else ""),
                remedy="every init that succeeds is followed by exactly one shutdown; neither may "
                "be called by the node itself",
            )


NODE_RULES: tuple[Callable[[Specimen], Awaitable[None]], ...] = (
    life_cycle,
    does_not_block,
    leaves_nothing,
    declared_topics,
    fresh_instances,
    restart,
    failed_init,
    cancelled_ticks,
    safe_state,
    stop_at_any_time,
)
