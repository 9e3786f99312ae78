"""Looks at what nodes declare about topics, and says at the start what does not fit together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ..node import NodeOptions

__all__ = ["check_wiring"]


def check_wiring(nodes: Mapping[str, NodeOptions]) -> list[str]:
    """Topics that are read but that nobody declares to publish, and types that do not match.

    A reader without a declared publisher may still be served by a node that declares nothing, so
    that is only said where a name is nearly right, or where every other node has declared.

    Arguments:
        nodes: The options of all nodes, by name.
    """
    published = {pub.topic: (name, pub) for name, o in nodes.items() for pub in o.pubs}
    silent = {name for name, o in nodes.items() if not o.pubs and not o.subs}
    texts: list[str] = []
    for name, options in nodes.items():
        others_declare = silent <= {name}
        topics = {sub.topic: sub.type for sub in options.subs}
        topics.update({topic: topics.get(topic) for topic in options.on})
        for topic, expected in topics.items():
            if topic not in published:
                close = difflib.get_close_matches(topic, published, n=1)
                if close:
                    texts.append(
                        f"node {name!r} reads topic {topic!r}, which no node declares to "
                        f"publish; did you mean {close[0]!r} of node {published[close[0]][0]!r}?"
                    )
                elif published and others_declare and len(nodes) > 1:
                    texts.append(
                        f"node {name!r} reads topic {topic!r}, which no node declares to publish"
                    )
                continue
            publisher, pub = published[topic]
            if expected is None or pub.type is None or issubclass(pub.type, expected):
                continue
            texts.append(
                f"node {name!r} reads topic {topic!r} as {expected.__qualname__}, but node "
                f"{publisher!r} publishes {pub.type.__qualname__}"
            )
    return texts
