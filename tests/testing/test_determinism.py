"""The same seed gives the same run, in every process; and a simulated hour is cheap."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from twelve_nodes import simulate

import horus_trio as horus
from horus_trio.testing import HarnessError, open_harness, payload_hash

PROGRAM = Path(__file__).parent.parent / "twelve_nodes.py"


def robot(*arguments: object, hash_seed: str = "random") -> str:
    """What the twelve-node program prints, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_traces_of_two_processes_are_identical(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    first = robot(5, 60, files[0], hash_seed="1")
    assert robot(5, 60, files[1], hash_seed="2") == first
    assert files[0].read_bytes() == files[1].read_bytes()
    assert robot(6, 60, files[2], hash_seed="1") != first
    text = files[0].read_text()
    assert text.count("\n") > 40_000
    for event in (" OK ", " ERROR ", " TIMED_OUT "):
        assert event in text


@pytest.mark.slow
def test_simulated_time_costs_little_more_than_in_a_bare_trio_program() -> None:
    printed = robot("cost", 40, 3)
    print(printed)
    assert float(printed.rpartition("ratio ")[2]) <= 2.5


async def test_two_runs_in_one_process_are_identical_too() -> None:
    first, _ = await simulate(3, 5.0, trace=True)
    second, _ = await simulate(3, 5.0, trace=True)
    other, _ = await simulate(4, 5.0, trace=True)
    assert first.trace.lines == second.trace.lines
    assert first.trace.digest() == second.trace.digest() != other.trace.digest()
    assert str(first.trace).splitlines() == first.trace.lines
    assert len(first.trace) == len(first.trace.lines)
    assert repr(first.trace).startswith(f"<Trace of {len(first.trace)} events, ")


async def test_the_order_of_nodes_at_one_instant_follows_the_seed() -> None:
    class Quick(horus.AsyncNode):
        async def tick_async(self) -> None:
            await trio.lowlevel.checkpoint()

    async def order(seed: int) -> list[str]:
        nodes = [Quick(f"n{n}", rate=1, phase=0) for n in range(6)]
        async with open_harness(*nodes, seed=seed) as h:
            await h.advance(5)
            return [r.node for r in h.results]

    orders = {seed: await order(seed) for seed in range(8)}
    assert orders == {seed: await order(seed) for seed in range(8)}
    assert len({tuple(names) for names in orders.values()}) > 1


async def test_a_trace_has_ticks_messages_and_what_the_test_sent() -> None:
    class Echo(horus.AsyncNode):
        async def tick_async(self) -> None:
            self.send("out", self.recv("in"))

    async with open_harness(Echo("echo", on="in"), trace=True) as h:
        h.publish("in", 1.5)
        await h.settle()
        h.topic("in").send(2.5)
        await h.advance(0.25)
    assert h.trace.lines == [
        f"0.0 test - - in {payload_hash(1.5)}",
        f"0.0 echo - - out {payload_hash(1.5)}",
        "0.0 echo 1 OK - -",
        f"0.0 - - - in {payload_hash(2.5)}",
        f"0.0 echo - - out {payload_hash(2.5)}",
        "0.0 echo 2 OK - -",
    ]
    async with open_harness(Echo("echo", on="in")) as h:
        with pytest.raises(HarnessError, match="trace=True"):
            h.trace  # noqa: B018


class Gear(Enum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Pose:
    x: float
    tags: frozenset[str]


class Opaque:
    def __reduce__(self) -> str:
        raise TypeError("no pickles")


@given(st.sets(st.text()), st.dictionaries(st.text(), st.floats()))
def test_equal_payloads_have_equal_hashes(names: set[str], numbers: dict[str, float]) -> None:
    again: set[str] = set()
    for name in sorted(names, reverse=True):
        again.add(name)  # in another order
    assert payload_hash(names) == payload_hash(again)
    backwards = dict(reversed(list(numbers.items())))
    assert payload_hash(numbers) == payload_hash(backwards)
    assert payload_hash(Pose(1.0, frozenset(names))) == payload_hash(Pose(1.0, frozenset(names)))


def test_different_payloads_have_different_hashes() -> None:
    values = [
        None,
        0,
        0.0,
        False,
        "0",
        b"0",
        [0],
        (0,),
        {0},
        {0: 0},
        Gear.LOW,
        Gear.HIGH,
        Pose(1.0, frozenset()),
        Pose(2.0, frozenset()),
        Opaque(),
        range(3),
        range(4),
        "\ud800",
    ]
    assert len({payload_hash(value) for value in values}) == len(values)
