"""`HorusTopic`: what a bridge is told of a topic of HORUS's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ...arguments import is_whole
from ...errors import ConfigurationError
from ...topics import Pub, Sub

__all__ = ["HorusTopic", "declared"]

NAME = re.compile(r"(?!/)(?!(.*/)?\.\.(/|\Z))[A-Za-z0-9_./-]{1,200}")

MOST = 65_536
"""HORUS gives no topic more memory than that needs, and ends the process at a billion."""


@dataclass(frozen=True, slots=True)
class HorusTopic:
    """A topic of HORUS's that a `HorusBridge` carries.

    Arguments:
        name: HORUS's name of it: ASCII letters, digits, ``_``, ``-``, ``.`` and ``/``.
        type: Class of its messages. One of HORUS's own, or a dataclass with the name and fields of
            one: the bridge converts. None: what HORUS calls generic, that is dicts, lists, texts
            and numbers.
        topic: The engine's topic: its name, or a `Pub` to publish what is received, or a `Sub`
            whose messages are sent. None: it has the same name.
        capacity: Messages that may wait in HORUS's ring, if the bridge is the first to open it;
            HORUS takes the next power of two. Who opens it later gets the ring that is there.
        backlog: Whether what lies in the ring when the bridge joins is received, too. It may have
            been received before, by an earlier run.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    name: str
    type: type[Any] | None = None
    _: KW_ONLY
    topic: str | Pub | Sub | None = None
    capacity: int = 1024
    backlog: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or NAME.fullmatch(self.name) is None:
            raise ConfigurationError(
                f"HorusTopic({self.name!r:.80}): expected a name of ASCII letters, digits and "
                "_ - . /, such as 'motors/cmd_vel'"
            )
        if self.type is not None and not isinstance(self.type, type):
            raise ConfigurationError(
                f"HorusTopic({self.name!r}): type is {self.type!r:.80}, expected a message class, "
                "or None for dicts"
            )
        if not is_whole(self.capacity, 1, MOST):
            raise ConfigurationError(
                f"HorusTopic({self.name!r}): capacity is {self.capacity!r}, expected a whole "
                f"number from 1 to {MOST}"
            )

    @property
    def engine_topic(self) -> str:
        """The name of the engine's topic."""
        topic = self.topic
        if topic is None:
            return self.name
        return topic if isinstance(topic, str) else topic.topic


def declared(owner: str, option: str, given: Any, kind: type[Pub | Sub]) -> tuple[HorusTopic, ...]:
    """The topics of one direction, in whatever way they are written.

    Arguments:
        owner: Who declares them, for messages.
        option: The direction, for messages.
        given: A name, a message class or a `HorusTopic`, or several.
        kind: What a topic of the engine may be here, besides a name.
    """
    several = isinstance(given, Iterable) and not isinstance(given, (str, type))
    topics = tuple(_one(owner, option, item) for item in (given if several else (given,)))
    seen: set[str] = set()
    for topic in topics:
        if topic.name in seen:
            raise ConfigurationError(f"{owner}: {option}= has topic {topic.name!r} twice")
        seen.add(topic.name)
        if topic.topic is not None and not isinstance(topic.topic, (str, kind)):
            raise ConfigurationError(
                f"{owner}: {option}={topic!r:.120}: its topic is {topic.topic!r:.80}, expected the "
                f"name of a topic, or a horus_trio.{kind.__name__}(…)"
            )
    return topics


def _one(owner: str, option: str, item: Any) -> HorusTopic:
    if isinstance(item, HorusTopic):
        return item
    if isinstance(item, str):
        return HorusTopic(item)
    if isinstance(item, type):  # as in HORUS's Node(pubs=[CmdVel])
        return HorusTopic(getattr(item, "__topic_name__", None) or item.__name__.lower(), item)
    raise ConfigurationError(
        f"{owner}: {option}={item!r:.80}, expected the name of a topic of HORUS's, a message class "
        "or a HorusTopic(…), or a list of them"
    )
