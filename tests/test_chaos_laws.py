"""The laws of chaos: a robot that is well breaks none, and each refuses what is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chaos.diary import Entry, Send
from chaos.laws import LAWS, judge
from chaos.record import Record, Segment, is_subsequence
from chaos.robot import act_out
from chaos.small import SMALL
from chaos.snapshots import Look, check_following, check_snapshot, check_tokens

from horus_trio import (
    HubStatistics,
    NodeFailure,
    NodeState,
    Overflow,
    RunFailed,
    SubscriptionStatistics,
)


@pytest.fixture(scope="module")
def played() -> Record:
    record, found = act_out(SMALL)
    assert found == []
    assert record is not None
    return record


@pytest.fixture
def record(played: Record) -> Record:
    """A copy that may be broken."""
    diary = dataclasses.replace(
        played.diary,
        entries=list(played.diary.entries),
        results=list(played.diary.results),
        sends=[dataclasses.replace(send) for send in played.diary.sends],
        received={key: list(value) for key, value in played.diary.received.items()},
        causes=list(played.diary.causes),
    )
    return dataclasses.replace(
        played,
        diary=diary,
        final=dict(played.final),
        order={topic: list(order) for topic, order in played.order.items()},
        channel=list(played.channel),
        left=list(played.left),
        rates={life: list(segments) for life, segments in played.rates.items()},
    )


def test_the_robot_is_well_and_lively(record: Record) -> None:
    assert judge(record) == []
    statuses = {result.status for result in record.diary.results}
    assert statuses >= {"OK", "ERROR", "ABANDONED"}
    assert record.report.emergencies
    assert record.final["slow/1"].restarts > 0
    assert {send.fate for send in record.diary.sends} == {"accepted", "refused"}


def place(record: Record, what: str, phase: str, life: str = "", nth: int = 0) -> int:
    """Where an entry is."""
    places = [
        n
        for n, entry in enumerate(record.diary.entries)
        if entry.what == what and entry.phase == phase and life in ("", entry.life)
    ]
    return places[nth]


def insert(record: Record, at: int, **entry: Any) -> None:
    record.diary.entries.insert(at, Entry(number=0, **entry))


def change_result(record: Record, which: str, **changes: Any) -> None:
    results = record.diary.results
    n = next(n for n, result in enumerate(results) if result.status == which)
    results[n] = dataclasses.replace(results[n], **changes)


def change_final(record: Record, life: str, **changes: Any) -> None:
    record.final[life] = dataclasses.replace(record.final[life], **changes)


def change_report(record: Record, **changes: Any) -> None:
    record.report = dataclasses.replace(record.report, **changes)


def first_send(record: Record, fate: str, life: str = "") -> Send:
    return next(
        send
        for send in record.diary.sends
        if send.fate == fate and send.life and life in ("", send.life)
    )


def shutdown_is_missing(record: Record) -> None:
    del record.diary.entries[place(record, "shutdown", "begins", "steady/1")]


def shutdown_comes_twice(record: Record) -> None:
    n = place(record, "shutdown", "returned", "steady/1")
    insert(record, n + 1, life="steady/1", what="shutdown", phase="begins")
    insert(record, n + 2, life="steady/1", what="shutdown", phase="returned")


def two_ticks_at_once(record: Record) -> None:
    n = place(record, "tick", "begins", "steady/1")
    insert(record, n, life="steady/1", what="tick", phase="begins", seq=900)


def tick_before_init(record: Record) -> None:
    insert(record, 0, life="steady/1", what="tick", phase="begins", seq=900)
    insert(record, 1, life="steady/1", what="tick", phase="returned", seq=900)


def hook_never_ends(record: Record) -> None:
    del record.diary.entries[place(record, "shutdown", "returned", "steady/1")]


def ticks_while_paused(record: Record) -> None:
    n = place(record, "paused", "is")
    for seq in (900, 901, 902):
        insert(record, n + 1, life="steady/1", what="tick", phase="begins", seq=seq)


def ticks_while_held(record: Record) -> None:
    n = place(record, "held", "is")
    insert(record, n + 1, life="steady/1", what="tick", phase="begins", seq=900)


def nobody_was_made_safe(record: Record) -> None:
    record.diary.entries[:] = [e for e in record.diary.entries if e.what != "enter_safe_state"]


def result_is_missing(record: Record) -> None:
    del record.diary.results[5]


def result_comes_twice(record: Record) -> None:
    record.diary.results.append(record.diary.results[-1])


def result_is_another(record: Record) -> None:
    change_result(record, "ERROR", status="OK")


def value_is_another(record: Record) -> None:
    change_result(record, "OK", value="another")


def tick_comes_twice(record: Record) -> None:
    n = place(record, "tick", "returned", "steady/1")
    seq = record.diary.entries[n].seq
    insert(record, n + 1, life="steady/1", what="tick", phase="begins", seq=seq)


def numbers_fall(record: Record) -> None:
    record.diary.results.reverse()


def number_was_never_released(record: Record) -> None:
    change_final(record, "steady/1", ticks_released=1)


def counter_is_wrong(record: Record) -> None:
    change_final(record, "steady/1", ok=1)


def something_is_in_flight(record: Record) -> None:
    change_final(record, "steady/1", in_flight=1)


def channel_lost_one(record: Record) -> None:
    del record.channel[3]


def channel_is_in_disorder(record: Record) -> None:
    record.channel.reverse()


def restarts_are_forgotten(record: Record) -> None:
    change_final(record, "slow/1", restarts=0)


def gave_up_early(record: Record) -> None:
    change_final(record, "fails/1", state=NodeState.FAILED)


def released_too_often(record: Record) -> None:
    node = record.final["steady/1"]
    change_final(record, "steady/1", ticks_released=node.ticks_released + 10)


def rate_was_another(record: Record) -> None:
    record.rates["steady/1"] = [Segment(since=0.0, rate=100.0)]


def accepted_message_is_lost(record: Record) -> None:
    record.order["t0"].remove(first_send(record, "accepted").message)


def refused_message_is_published(record: Record) -> None:
    record.order["t0"].append(first_send(record, "refused").message)


def message_is_published_twice(record: Record) -> None:
    record.order["t0"].append(record.order["t0"][0])


def message_is_from_nowhere(record: Record) -> None:
    record.order["t0"].append("nobody#0")


def messages_overtake(record: Record) -> None:
    record.diary.received["steady/1", "t0"].reverse()


def abandoned_tick_publishes(record: Record) -> None:
    send = first_send(record, "refused")
    send.fate = "accepted"
    record.order["t0"].append(send.message)


def publishes_after_the_run(record: Record) -> None:
    over = next(e.number for e in record.diary.entries if e.what == "over")
    first_send(record, "accepted", "steady/1").number = over + 1


def end_has_no_cause(record: Record) -> None:
    change_report(record, reason="a whim")


def failure_is_not_raised(record: Record) -> None:
    failure = NodeFailure(node="steady", fatal=True, error="ValueError", traceback="")
    change_report(record, failed=(failure,))


def failure_is_raised_without_one(record: Record) -> None:
    record.error = RunFailed("chaos", [ValueError("from nowhere")], record.report)


def duration_is_ignored(record: Record) -> None:
    change_report(record, duration=SMALL.duration + 0.01)


def stop_is_forced_by_nobody(record: Record) -> None:
    change_report(record, forced_by="SIGINT")


def stop_takes_for_ever(record: Record) -> None:
    record.returned += 60.0


def token_is_lost(record: Record) -> None:
    record.borrowed = 1


def task_is_left(record: Record) -> None:
    record.left.append("task 'x' is still there")


def thread_is_not_listed(record: Record) -> None:
    record.busy = len(record.report.stragglers) + 1


def handlers_stay(record: Record) -> None:
    record.restored = False


def report_is_no_json(record: Record) -> None:
    change_report(record, warnings=(object(),))


def report_has_other_numbers(record: Record) -> None:
    statistics = record.report.statistics
    nodes = {**statistics.nodes}
    nodes["steady"] = dataclasses.replace(nodes["steady"], missed=99)
    change_report(record, statistics=dataclasses.replace(statistics, nodes=nodes))


def report_hides_a_failure(record: Record) -> None:
    statistics = record.report.statistics
    nodes = {**statistics.nodes}
    nodes["slow"] = dataclasses.replace(nodes["slow"], state=NodeState.FAILED)
    change_report(record, statistics=dataclasses.replace(statistics, nodes=nodes))


def report_hides_a_busy_shutdown(record: Record) -> None:
    n = place(record, "shutdown", "begins", "slow/1", nth=-1)
    insert(record, n, life="slow/1", what="tick", phase="begins", seq=900)
    insert(record, n + 2, life="slow/1", what="tick", phase="returned", seq=900)
    change_report(record, shutdown_while_busy=())


def own_thread_is_another(record: Record) -> None:
    n = place(record, "tick", "begins", "fails/1")
    entries = record.diary.entries
    entries[n] = dataclasses.replace(entries[n], thread=entries[n].thread + 1)


BROKEN: dict[str, list[Callable[[Record], None]]] = {
    "hooks_in_order": [
        shutdown_is_missing,
        shutdown_comes_twice,
        two_ticks_at_once,
        tick_before_init,
        hook_never_ends,
        report_hides_a_busy_shutdown,
    ],
    "nothing_while_paused": [ticks_while_paused],
    "nothing_while_held": [ticks_while_held],
    "own_thread_is_kept": [own_thread_is_another],
    "safe_where_reported": [nobody_was_made_safe],
    "every_tick_has_its_result": [
        result_is_missing,
        result_comes_twice,
        result_is_another,
        value_is_another,
        tick_comes_twice,
    ],
    "numbers_rise": [numbers_fall, number_was_never_released],
    "counters_are_results": [counter_is_wrong, something_is_in_flight],
    "channel_is_whole": [channel_lost_one, channel_is_in_disorder],
    "restarts_are_counted": [restarts_are_forgotten, gave_up_early],
    "releases_follow_the_rate": [released_too_often, rate_was_another],
    "messages_are_whole": [
        accepted_message_is_lost,
        refused_message_is_published,
        message_is_published_twice,
        message_is_from_nowhere,
        messages_overtake,
    ],
    "nobody_publishes_after_his_end": [abandoned_tick_publishes, publishes_after_the_run],
    "end_is_explained": [
        end_has_no_cause,
        failure_is_not_raised,
        failure_is_raised_without_one,
        duration_is_ignored,
        stop_is_forced_by_nobody,
    ],
    "stop_is_bounded": [stop_takes_for_ever],
    "nothing_is_left": [token_is_lost, task_is_left, thread_is_not_listed, handlers_stay],
    "report_is_true": [report_is_no_json, report_has_other_numbers, report_hides_a_failure],
}


def test_every_law_has_a_broken_record() -> None:
    assert list(BROKEN) == [law.__name__ for law in LAWS]


@pytest.mark.parametrize(
    ("law", "break_it"),
    [(law, break_it) for law in LAWS for break_it in BROKEN[law.__name__]],
    ids=lambda function: function.__name__,
)
def test_a_law_refuses_what_is_broken(
    record: Record,
    law: Callable[[Record], Iterator[object]],
    break_it: Callable[[Record], None],
) -> None:
    assert list(law(record)) == []
    break_it(record)
    assert list(law(record))


def test_a_subsequence_may_leave_out_and_may_not_reorder() -> None:
    assert is_subsequence([], [])
    assert is_subsequence("ac", "abc")
    assert not is_subsequence("ca", "abc")
    assert not is_subsequence("aa", "abc")


# Snapshots


@pytest.fixture
def look(played: Record) -> Look:
    lives = {name: f"{name}/1" for name in played.report.statistics.nodes}
    return Look(statistics=played.report.statistics, lives=lives)


def with_node(look: Look, **changes: Any) -> Look:
    nodes = {**look.statistics.nodes}
    nodes["slow"] = dataclasses.replace(nodes["slow"], **changes)
    return dataclasses.replace(look, statistics=dataclasses.replace(look.statistics, nodes=nodes))


def with_subscription(look: Look, **changes: Any) -> Look:
    entry = SubscriptionStatistics(
        published=5,
        received=2,
        dropped=2,
        depth=1,
        capacity=4,
        overflow=Overflow.LATEST,
        tasks_waiting=0,
    )
    topic = HubStatistics(
        name="t0",
        sent=10**6,
        received=0,
        dropped=0,
        depth=0,
        senders_waiting=0,
        subscriptions=(dataclasses.replace(entry, **changes),),
    )
    statistics = dataclasses.replace(look.statistics, topics={"t0": topic})
    return dataclasses.replace(look, statistics=statistics)


def with_pool(look: Look, **changes: Any) -> Look:
    pool = look.statistics.pool
    assert pool is not None
    changed = dataclasses.replace(pool, **changes)
    return dataclasses.replace(look, statistics=dataclasses.replace(look.statistics, pool=changed))


def laws(violations: Iterator[Any]) -> set[str]:
    return {violation.law for violation in violations}


def test_a_snapshot_that_is_well_breaks_no_law(look: Look) -> None:
    assert laws(check_snapshot(look)) == set()
    assert laws(check_snapshot(with_subscription(look))) == set()
    assert laws(check_following(look, look)) == set()
    assert laws(check_tokens(look, {"slow"})) == set()


@pytest.mark.parametrize(
    ("law", "changes"),
    [
        ("accounting", {"ok": 10**6}),
        ("accounting", {"missed": -1}),
        ("one tick", {"in_flight": 3}),
    ],
)
def test_what_is_wrong_with_a_node(look: Look, law: str, changes: dict[str, int]) -> None:
    assert law in laws(check_snapshot(with_node(look, **changes)))


@pytest.mark.parametrize(
    "changes", [{"dropped": 1}, {"received": 9}, {"depth": 6, "published": 10}, {"published": 6}]
)
def test_what_is_wrong_with_a_topic(look: Look, changes: dict[str, int]) -> None:
    assert laws(check_snapshot(with_subscription(look, **changes))) == {"topics"}


@pytest.mark.parametrize("borrowed", [-1, 3])
def test_more_tokens_than_there_are(look: Look, borrowed: int) -> None:
    assert laws(check_snapshot(with_pool(look, borrowed=borrowed))) == {"tokens"}


def test_a_token_that_nobody_needs(look: Look) -> None:
    assert laws(check_tokens(with_pool(look, borrowed=1), {"slow"})) == {"tokens"}
    ticking = with_pool(with_node(look, in_flight=1, state=NodeState.RUNNING), borrowed=1)
    assert laws(check_tokens(ticking, {"slow"})) == set()
    stuck = with_pool(with_node(look, in_flight=1, state=NodeState.STUCK), borrowed=1)
    assert laws(check_tokens(stuck, {"slow"})) == {"tokens"}


def test_a_counter_that_falls(look: Look) -> None:
    less = with_node(look, ok=look.statistics.nodes["slow"].ok - 1)
    assert laws(check_following(look, less)) == {"rising"}
    assert laws(check_following(less, look)) == set()
    another_life = dataclasses.replace(less, lives={**less.lives, "slow": "slow/2"})
    assert laws(check_following(look, another_life)) == set()


@pytest.mark.parametrize("counter", ["wake_ups", "elapsed", "stall_count", "callback_errors"])
def test_a_counter_of_the_robot_that_falls(look: Look, counter: str) -> None:
    changes: dict[str, Any] = {counter: 10**6}
    more = dataclasses.replace(look, statistics=dataclasses.replace(look.statistics, **changes))
    assert laws(check_following(more, look)) == {"rising"}


def test_a_topic_that_has_sent_less(look: Look) -> None:
    assert laws(check_following(with_subscription(look), look)) == {"rising"}
