"""Hubs, links and subscriptions know what they carry."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, assert_type

import trio

from horus_trio import Hub, HubStatistics, Link, Overflow, Pub, Sub, Subscription, Topics

# Right


async def a_hub_gives_what_was_sent() -> None:
    hub = Hub("numbers", int)
    assert_type(hub, Hub[int])
    assert_type(hub.send(1), int)
    assert_type(await hub.send_async(2), int)
    assert_type(hub.latest, tuple[int, float] | None)
    assert_type(hub.statistics(), HubStatistics)
    subscription = hub.subscribe(8, Overflow.LATEST)
    assert_type(subscription, Subscription[int])
    assert_type(await subscription.receive(), int)
    assert_type(subscription.receive_nowait(), int)
    assert_type(subscription.drain(), list[int])
    async for number in subscription:
        assert_type(number, int)


def a_hub_is_typed_without_a_class() -> None:
    hub: Hub[list[str]] = Hub("words")
    assert_type(hub.subscribe().receive_nowait(), list[str])


def a_subscription_is_a_trio_channel(hub: Hub[int]) -> None:
    channel: trio.abc.ReceiveChannel[int] = hub.subscribe()
    del channel


async def a_link_gives_what_was_sent(link: Link[bytes]) -> None:
    link.send_nowait(b"1")
    await link.send(b"2")
    link.send_blocking(b"3")
    assert_type(link.receive_nowait(), bytes)
    assert_type(await link.receive(), bytes)
    assert_type(link.receive_blocking(), bytes)


def a_topic_by_name_is_not_typed(topics: Topics) -> None:
    assert_type(topics.hub("numbers"), Hub[Any])


# Wrong


async def another_type_is_sent(hub: Hub[int], link: Link[bytes]) -> None:
    hub.send("1")  # type: ignore[arg-type]
    await hub.send_async("1")  # type: ignore[arg-type]
    link.send_nowait("1")  # type: ignore[arg-type]
    await link.send("1")  # type: ignore[arg-type]


def another_type_is_read(hub: Hub[int], link: Link[bytes]) -> None:
    word: str = hub.subscribe().receive_nowait()  # type: ignore[assignment]
    text: str = link.receive_blocking()  # type: ignore[assignment]
    del word, text


def hubs_are_invariant(hub: Hub[bool]) -> None:
    wider: Hub[int] = hub  # type: ignore[assignment]
    del wider


def overflow_is_no_string(hub: Hub[int]) -> None:
    hub.subscribe(overflow="block")  # type: ignore[arg-type]


def declarations_are_frozen_and_by_keyword() -> None:
    sub = Sub("numbers", type=int, capacity=8)
    sub.capacity = 9  # type: ignore[misc]
    Sub("numbers", int)  # type: ignore[call-arg]
    Pub("numbers", capacity=8)  # type: ignore[call-arg]
    Sub("numbers", type=1)  # type: ignore[arg-type]
