"""A profile as text: it fits, and nothing of it is lost."""

from __future__ import annotations

import pytest

from horus_trio.profiling import NodeProfile, PoolProfile, ProfileReport, Times


def report(*names: str, hints: tuple[str, ...] = ()) -> ProfileReport:
    def node(name: str) -> NodeProfile:
        on_loop = name.startswith("async")
        return NodeProfile(
            name=name,
            where="loop" if on_loop else "pool",
            ticks=1_234_567,
            late=Times(share=0.0123),
            waiting=Times(share=0.43, p50=0.0123456, p99=0.123456, max=1.23456),
            running=Times(share=1.0, p50=0.0001, p99=0.00994, max=1.23456),
            awaiting=Times(share=0.0995, p50=0.01, p99=0.1, max=1.0),
            step=Times(p99=0.12, max=0.12),
            longest_step=0.12,
            longest_in="tick 3",
            blocking_steps=1,
            cpu=None if on_loop else 0.5,
            hints=hints,
        )

    pool = PoolProfile(tokens=4, taken=3.21, saturation=0.61, waiting=2.5, abandoned=2)
    return ProfileReport(name="rover", elapsed=10.0, nodes=tuple(map(node, names)), pool=pool)


def test_it_reads_so() -> None:
    assert str(report("async imu", "camera", hints=("too slow: change it",))) == (
        """\
where 10.00 s went: waiting for the loop or a thread, running, awaiting
node       in           ticks    loop  thread    runs  awaits     cpu
async imu  loop       1234567   1.2 %    43 %   100 %    10 %       -
camera     pool       1234567   1.2 %    43 %   100 %    10 %    50 %

one tick in ms, p50/p99/max; a step on the loop blocks it
node                thread           runs         awaits           step
async imu                - 0.10/9.94/1235    10/100/1000   0.00/120/120
camera         12/123/1235 0.10/9.94/1235              -              -

pool: 3.2 of 4 tokens were taken on average, all of them 61 % of the time; 2.5
    calls waited for one; threads left behind: 2
HINT async imu: too slow: change it
HINT camera: too slow: change it"""
    )


@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize("length", [1, 12, 19, 20, 21, 31, 40, 100])
def test_it_fits(columns: int, length: int) -> None:
    lines = report("n" * length, "async", hints=("word " * 60,)).table(columns).splitlines()
    assert max(map(len, lines)) <= columns
    shown = lines[2].split()[0]
    assert shown == "n" * length or (shown[-1] == "…" and len(shown) > 12)


def test_it_is_never_narrower_than_its_figures() -> None:
    assert report("a", "async").table(10) == report("a", "async").table(72)
