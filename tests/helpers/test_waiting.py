"""A thread that sleeps says so only while nobody has woken it."""

from __future__ import annotations

from horus_trio.topics.waiting import Rest, ThreadWaiter, Waiter, current_rest


def test_who_was_woken_before_never_lies_down() -> None:
    calls: list[str] = []

    def rest() -> Rest:
        return lambda: calls.append("lie down"), lambda: calls.append("get up")

    def woken_at_once(waiter: Waiter) -> bool:
        waiter.wake()
        return True

    def not_woken(waiter: Waiter) -> bool:
        return True

    token = current_rest.set(rest)
    try:
        assert ThreadWaiter().wait(woken_at_once, lambda: None, timeout=20)
        assert "lie down" not in calls
        assert not ThreadWaiter().wait(not_woken, lambda: None, timeout=0.001)
    finally:
        current_rest.reset(token)
    assert calls[-2:] == ["lie down", "get up"]
