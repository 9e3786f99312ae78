"""What a run asks of the interpreter is given back, whoever else has asked for something."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

import horus_trio as horus
from horus_trio.scheduler.interpreter import Collector, switch_interval


class Thing:
    pass


def garbage() -> weakref.ref[Thing]:
    """Something that only the collector can free."""
    one = Thing()
    one.__dict__["itself"] = one
    return weakref.ref(one)


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    gc.collect()
    assert gc.get_freeze_count() == 0
    yield
    gc.enable()
    gc.unfreeze()


def test_what_is_frozen_is_not_looked_at_until_the_end() -> None:
    with Collector() as collector:
        dead = garbage()
        collector.freeze()
        gc.collect()
        assert dead() is not None
    gc.collect()
    assert dead() is None


def test_what_comes_later_is_looked_at() -> None:
    with Collector() as collector:
        collector.freeze()
        dead = garbage()
        gc.collect()
        assert dead() is None


def test_nothing_is_collected_while_much_is_made() -> None:
    with Collector() as collector:
        with collector.building():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_the_collector_is_back_though_the_making_fails() -> None:
    with Collector() as collector:
        with pytest.raises(OSError, match="no disk"), collector.building():
            raise OSError("no disk")
        assert gc.isenabled()


def test_who_has_frozen_objects_keeps_them_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with Collector() as collector:
        collector.freeze()
        with collector.building():
            assert gc.isenabled()
    assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.01)


def test_who_has_switched_the_collector_off_keeps_it_off() -> None:
    gc.disable()
    with Collector() as collector:
        collector.freeze()
        with collector.building():
            pass
        assert not gc.isenabled()
        assert gc.get_freeze_count() == 0
    assert not gc.isenabled()


def test_a_run_freezes_its_nodes_and_thaws_them() -> None:
    counts: list[int] = []

    async def look(node: horus.Node) -> None:
        counts.append(gc.get_freeze_count())

    scheduler = horus.Scheduler(tick_rate=100)
    scheduler.add(horus.Node("look", tick=look))
    for _ in range(2):
        scheduler.run(0.01)
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0
    assert len(counts) == 2
    assert min(counts) > 1000


async def test_on_a_virtual_clock_nothing_is_frozen(autojump_clock: MockClock) -> None:
    counts: list[int] = []

    async def look(node: horus.Node) -> None:
        counts.append(gc.get_freeze_count())

    scheduler = horus.Scheduler(tick_rate=1)
    scheduler.add(horus.Node("look", tick=look))
    await scheduler.run(2)
    assert counts == [0, 0]


async def test_a_run_that_cannot_start_thaws_all_the_same() -> None:
    async def tick(node: horus.Node) -> None:
        pass

    node = horus.Node("twice", tick=tick)
    scheduler = horus.Scheduler(signals=False).add(node)
    with trio.move_on_after(0):
        await scheduler.run(1)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_an_overlapping_run_leaves_the_switch_interval_of_the_other() -> None:
    earlier = sys.getswitchinterval()
    first, second = switch_interval(0.002), switch_interval(0.003)
    with first:
        second.__enter__()
    assert sys.getswitchinterval() == pytest.approx(0.003)
    second.__exit__(None, None, None)
    sys.setswitchinterval(earlier)


def test_where_nothing_is_wanted_nothing_is_frozen() -> None:
    with Collector(wanted=False) as collector:
        collector.freeze()
        with collector.building():
            assert gc.isenabled()
        assert gc.get_freeze_count() == 0


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="its collector counts otherwise")
@pytest.mark.parametrize(
    ("limit", "young", "full"), [(9, 4, 0), (4, 4, 0), (3, 4, 1), (2, 3, 1)], ids=str
)
def test_the_young_collections_before_a_freeze_are_made_up_for(
    limit: int, young: int, full: int
) -> None:
    generations: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    earlier = gc.get_threshold()
    gc.set_threshold(100_000, 100_000, limit)  # what is not asked for does not happen
    gc.callbacks.append(note)
    try:
        with Collector() as collector:
            for collections in (1, 2):
                for _ in range(collections):
                    gc.collect(1)
                collector.freeze()
            generations.clear()
        assert (generations.count(1), generations.count(2)) == (young, full)
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*earlier)


def test_run_after_run_comes_to_a_full_collection() -> None:
    """Freezing begins the count of young collections anew; it is made up for."""
    full: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            full.append(1)

    gc.callbacks.append(note)
    try:
        for _ in range(3 * gc.get_threshold()[2]):
            with Collector() as collector:
                collector.freeze()
                assert not gc.get_count()[2]
    finally:
        gc.callbacks.remove(note)
    assert 1 <= len(full) <= 3
