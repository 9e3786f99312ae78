"""How a HORUS node declares its topics: names, message types, `Sub` and `Pub`."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Pub", "Sub", "TopicSpec", "parse_topics"]


class _Declaration:
    """A topic, its message type and its capacity."""

    def __init__(self, topic: str, msg_type: type[Any] | None = None, capacity: int = 1024) -> None:
        self.topic: str = topic
        self.msg_type: type[Any] | None = msg_type
        self.capacity: int = capacity

    def __repr__(self) -> str:
        kind = "" if self.msg_type is None else f", {self.msg_type.__name__}"
        return f"{type(self).__name__}({self.topic!r}{kind})"


class Sub(_Declaration):
    """A topic that a node reads: ``Sub("arm.joints", JointState, capacity=64)``.

    Arguments:
        topic: Its name.
        msg_type: The class of its messages; None: any, dicts above all.
        capacity: Messages that may wait.
    """


class Pub(_Declaration):
    """A topic that a node writes; see `Sub`."""


TopicSpec: TypeAlias = str | list[str | Sub | Pub | type[Any]] | dict[str, Any] | None
"""What ``pubs=`` and ``subs=`` may be."""


def parse_topics(spec: Any, configs: dict[str, dict[str, Any]]) -> list[str]:
    """The names of the topics; what is said about them is put into `configs`.

    Arguments:
        spec: ``"a"``, ``["a", CmdVel, Sub("b", Imu)]``, ``{"a": CmdVel}``,
            ``{"a": {"type": CmdVel, "capacity": 64}}`` or None.
        configs: By topic.

    Raises:
        TypeError: It is none of these.
    """
    if spec is None:
        return []
    if isinstance(spec, str):
        return [spec]
    if isinstance(spec, dict):
        for topic, value in spec.items():
            if isinstance(value, type):
                configs[topic] = {"type": value}
            elif isinstance(value, dict):
                configs[topic] = value
        return list(spec)
    if not isinstance(spec, list):
        raise TypeError(f"pubs/subs must be str, list, or dict, got {type(spec).__name__}")
    names: list[str] = []
    for item in spec:
        if isinstance(item, str):
            names.append(item)
        elif isinstance(item, _Declaration):
            names.append(item.topic)
            if item.msg_type is not None:
                configs[item.topic] = {"type": item.msg_type, "capacity": item.capacity}
        elif isinstance(item, type):
            name = getattr(item, "__topic_name__", None) or item.__name__.lower()
            names.append(name)
            configs[name] = {"type": item}
        else:
            raise TypeError(
                "pubs/subs list items must be str, Sub/Pub, or message type, "
                f"got {type(item).__name__}"
            )
    return names
