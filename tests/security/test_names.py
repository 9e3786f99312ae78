"""Names are printable: what a terminal obeys gets into none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from security.terminal import EVIL, HARMLESS

import horus_trio as horus


async def nothing(node: horus.Node) -> None:
    pass


class Named(horus.AsyncNode):
    async def tick_async(self) -> None:
        pass


def class_attribute(name: str) -> None:
    horus.Scheduler().add(type("Evil", (Named,), {"name": name}))


def by_factory(name: str) -> None:
    horus.Scheduler().add(lambda: horus.Node(name, tick=nothing)).run(0.01)


def by_constructor(name: str) -> None:
    horus.Scheduler().add(horus.Node(name, tick=nothing))


WAYS: dict[str, Callable[[str], Any]] = {
    "constructor": by_constructor,
    "add": lambda name: horus.Scheduler().add(Named(), name=name),
    "class attribute": class_attribute,
    "factory": by_factory,
    "scheduler": lambda name: horus.Scheduler(name=name),
    "subs": lambda name: horus.Scheduler().add(Named(), subs=[name]),
    "pubs": lambda name: horus.Scheduler().add(Named(), pubs=[name]),
    "on": lambda name: horus.Scheduler().add(Named(), on=name),
    "Sub": lambda name: horus.Sub(name),
    "Hub": lambda name: horus.Hub(name),
    "Link": lambda name: horus.Link(name),
    "topic": lambda name: horus.Scheduler().topic(name),
}


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_a_terminal_obeys_is_refused(way: str, kind: str) -> None:
    with pytest.raises(horus.ConfigurationError, match="printable, non-empty str") as caught:
        WAYS[way](EVIL[kind])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("way", WAYS)
def test_names_of_all_languages_are_fine(way: str, name: str) -> None:
    WAYS[way](name)


@pytest.mark.parametrize("kind", sorted(set(EVIL) - {"ends a text", "is half a character"}))
async def test_so_is_a_name_that_is_made_of_a_classes(kind: str) -> None:
    """Two of them Python itself refuses."""
    scheduler = horus.Scheduler().add(type(EVIL[kind], (Named,), {}))
    await scheduler.run(0.01)
    (name,) = scheduler.statistics().nodes
    assert name.isprintable()
    assert name.endswith("-1")


@pytest.mark.parametrize("kind", EVIL)
async def test_a_topic_that_is_made_while_running_is_printable(kind: str) -> None:
    refused: list[Exception] = []

    async def sends(node: horus.Node) -> None:
        for send in (node.send, node.recv, node.latest, node.has_msg):
            arguments = (EVIL[kind], 1) if send == node.send else (EVIL[kind],)
            try:
                send(*arguments)
            except horus.ConfigurationError as error:
                refused.append(error)
        node.request_stop()

    await horus.Scheduler().add(horus.Node("a", tick=sends)).run(5)
    assert len(refused) >= 4
    assert all(str(error).isprintable() for error in refused)


async def test_a_name_that_is_changed_later_reaches_nothing() -> None:
    async def fails(node: horus.Node) -> None:
        node.name = EVIL["clears"]
        node.log.warning("a record")
        raise OSError("gone")

    scheduler = horus.Scheduler()
    scheduler.add(horus.Node("camera", tick=fails, failure_policy=horus.Fatal()))
    with pytest.raises(horus.RunFailed) as caught:
        await scheduler.run(5)
    assert str(caught.value.report).replace("\n", "").isprintable()
    assert list(scheduler.statistics().nodes) == ["camera"]
