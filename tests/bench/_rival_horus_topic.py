"""A dict through a topic of HORUS's own Python package; run by ``topics.py`` in its environment.

Writes what it calls and reads back, then answers each line on its standard input with one JSON
object: CPU seconds of this thread for one send and one receive, by the topic object itself and by
a node. One process serves all repetitions, so that the programs can take turns.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import horus

PAIRS = int(sys.argv[1])
MESSAGE = {"x": 1.0, "y": 2.0, "theta": 0.5}

topic = horus.Topic("bench_topic_dict")
node = horus.Node("bench", tick=lambda _: None, pubs=["bench_node_dict"], subs=["bench_node_dict"])


def through_topic() -> Any:
    topic.send(MESSAGE)
    return topic.recv()


def through_node() -> Any:
    node.send("bench_node_dict", MESSAGE)
    return node.recv("bench_node_dict")


def seconds(pair: Callable[[], Any]) -> float:
    start = time.thread_time()
    for _ in range(PAIRS):
        pair()
    return (time.thread_time() - start) / PAIRS


for pair in (through_topic, through_node):
    if pair() != MESSAGE:
        raise SystemExit(f"{pair.__name__} did not give the message back")
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    figures = {"topic": seconds(through_topic), "node": seconds(through_node)}
    print(json.dumps(figures), flush=True)
