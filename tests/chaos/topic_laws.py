"""The laws of topics: what is published, to whom it comes, and who may publish no more. Pure."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from .diary import Message
from .record import Record, is_subsequence
from .snapshots import Violation

__all__ = ["messages_are_whole", "nobody_publishes_after_his_end"]


def messages_are_whole(record: Record) -> Iterator[Violation]:
    """What was accepted was published once, what was refused never; order is kept."""
    counts = {topic: collections.Counter(order) for topic, order in record.order.items()}
    known: dict[str, set[Message]] = {topic: set() for topic in record.order}
    for send in record.diary.sends:
        times = counts.get(send.topic, collections.Counter())[send.message]
        known.setdefault(send.topic, set()).add(send.message)
        wanted = {"accepted": (1,), "refused": (0,), "cancelled": (0,)}.get(send.fate, (0, 1))
        if times not in wanted:
            text = f"{send.message} on {send.topic} was {send.fate} and published {times}x"
            yield Violation("topics", text)
    for topic, order in record.order.items():
        for message in set(order) - known[topic]:
            yield Violation("topics", f"{message} on {topic} was sent by nobody")
    for (life, topic), messages in record.diary.received.items():
        if not is_subsequence(messages, record.order.get(topic, [])):
            text = f"{life} received on {topic} what is no part of the publish order: {messages}"
            yield Violation("topics", text[:400])


def nobody_publishes_after_his_end(record: Record) -> Iterator[Violation]:
    """What was abandoned publishes nothing any more, nor does anybody after the run."""
    abandoned = {
        (result.life, result.seq): result.number
        for result in record.diary.results
        if result.status == "ABANDONED"
    }
    over = next((e.number for e in record.diary.entries if e.what == "over"), None)
    for send in record.diary.sends:
        if send.fate != "accepted" or not send.life:
            continue
        given_up = abandoned.get((send.life, send.seq))
        if given_up is not None and send.number > given_up:
            text = f"tick {send.seq} of {send.life} was abandoned, and then sent {send.message}"
            yield Violation("fence", text)
        if over is not None and send.number > over:
            yield Violation("fence", f"{send.life} sent {send.message} after the run")
