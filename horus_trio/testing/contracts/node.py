"""`check_node`: what the engine relies on in every node, tried on one in a single call."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Unpack

import trio

from ...arguments import is_positive, is_whole
from ...errors import ConfigurationError, nearest
from ...logs import engine_logger
from ...node import (
    Node,
    NodeOptions,
    OptionKeywords,
    find_hooks,
    gather_options,
    resolve_options,
)
from .node_bench import Specimen, make_one
from .node_rules import NODE_RULES

__all__ = ["check_node"]


async def check_node(
    make_node: Callable[[], Node],
    *,
    inputs: Mapping[str, Iterable[Any]] | None = None,
    ticks: int = 5,
    real_limit: float = 5.0,
    **options: Unpack[OptionKeywords],
) -> None:
    """Try a node: ``await check_node(Camera, inputs={"cmd": ["start"]})``. A checkpoint.

    The rules, each tried on fresh nodes on virtual time:

    - *life cycle*: it is initialised, ticks, and stops; no tick and no hook fails.
    - *does not block*: no step of an ``async`` hook holds the loop up for long.
    - *leaves nothing*: after it there is no new thread, task, descriptor or child process.
    - *declared topics*: if it declares ``pubs``, it sends to no other topic.
    - *fresh instances*: `make_node` makes another one at each call; one can be run again.
    - *restart*: after a tick that failed it is shut down, initialised, and ticks again.
    - *failed init*: an ``init`` that failed can be repeated, and nothing of it is left at the end.
    - *cancelled ticks*: an ``async`` tick may be cancelled at each of its checkpoints.
    - *safe state*: ``enter_safe_state`` succeeds at any time, and twice.
    - *stop at any time*: before the first tick, in ``init``, in a tick, and when that hangs.

    Arguments:
        make_node: A class, or a function that makes a node.
        inputs: Messages by topic: one of each is published before each tick, again and again.
        ticks: How many ticks a plain run has.
        real_limit: Real seconds for which a ``def`` hook may block its thread. An ``async`` hook
            may hold the loop up for a tenth of it, at least for 0.5 s.
        options: As in ``Scheduler.add``. The rules set the failure policy, and where a tick hangs
            its time limit.

    Raises:
        ContractBroken: The first rule that it breaks.
        ConfigurationError: An argument makes no sense.
        NodeError: `make_node` makes no node, or one without a usable tick.
    """
    specimen = _specimen(make_node, inputs, ticks, real_limit, options)
    with _quiet(specimen.name):
        for rule in NODE_RULES:
            await rule(specimen)
    await trio.lowlevel.checkpoint()


def _specimen(
    make_node: Callable[[], Node],
    inputs: Mapping[str, Iterable[Any]] | None,
    ticks: int,
    real_limit: float,
    given: OptionKeywords,
) -> Specimen:
    if isinstance(make_node, Node) or not callable(make_node):
        raise ConfigurationError(
            f"check_node({make_node!r}): expected a class or a function that makes a node, since "
            "each rule needs a fresh one; pass the class, or `lambda: Camera(…)`"
        )
    if not is_whole(ticks, 1):
        raise ConfigurationError(f"check_node(ticks={ticks!r}): expected a whole number above 0")
    if not is_positive(real_limit):
        raise ConfigurationError(
            f"check_node(real_limit={real_limit!r}): expected a finite number of seconds above 0"
        )
    messages = _messages({} if inputs is None else inputs)
    node = make_one(make_node, given)
    resolved = gather_options(node, given)
    name = resolved.get("name") or type(node).__qualname__
    options = resolve_options(name, resolved)
    _check_inputs(messages, options)
    return Specimen(
        make_node=make_node,
        inputs=messages,
        ticks=ticks,
        real_limit=real_limit,
        given=given,
        options=options,
        name=name,
        hooks=find_hooks(node),
    )


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """While inside, the engine logs nothing about that node: most of its failures are on purpose.

    What matters is in the error that is raised.
    """
    about = f"node {name!r}"

    def admit(record: logging.LogRecord) -> bool:
        return about not in record.getMessage()

    engine_logger.addFilter(admit)
    try:
        yield
    finally:
        engine_logger.removeFilter(admit)


def _messages(inputs: Mapping[str, Iterable[Any]]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(inputs, Mapping):
        raise ConfigurationError(
            f"check_node(inputs={inputs!r:.80}): expected messages by topic, such as "
            "{'cmd': ['start', 'stop']}"
        )
    found: dict[str, tuple[Any, ...]] = {}
    for topic, messages in inputs.items():
        if isinstance(messages, (str, bytes)) or not isinstance(messages, Iterable):
            raise ConfigurationError(
                f"check_node(inputs={{{topic!r}: {messages!r:.80}}}): expected a list of messages"
            )
        found[topic] = tuple(messages)
        if not found[topic]:
            raise ConfigurationError(
                f"check_node(inputs={{{topic!r}: []}}): expected at least one message"
            )
    return found


def _check_inputs(inputs: Mapping[str, object], options: NodeOptions) -> None:
    declared = [*options.on, *(sub.topic for sub in options.subs)]
    for topic in inputs if declared else ():
        if topic not in declared:
            raise ConfigurationError(
                f"check_node(inputs={{{topic!r}: …}}): the node declares to read no such topic"
                f"{nearest(topic, declared)}; declare it in subs or on, or correct its name"
            )
