"""How late ticks begin, and what waiting costs, against loops written by hand.

The rivals aim at the same absolute instants with `trio.sleep_until`, with `asyncio.sleep` and, a
thread for each node, with `time.sleep`; `trio_util.periodic` cannot, and its lateness against the
grid shows how it drifts. Waiting on a descriptor of the kernel's, the engine is not bound to the
whole milliseconds that event loops sleep for.
"""

from __future__ import annotations

from collections.abc import Callable

from _compare import Count, Target, compare, counts, print_machine
from _jobs import (
    Hand,
    Job,
    Run,
    busy_thread,
    by_asyncio,
    by_horus_trio,
    by_periodic,
    by_threads,
    by_timerfd,
    by_trio,
    figure,
    gather,
    middle,
)
from _quick import either

BASE = "trio.sleep_until"
HANDS: dict[str, Hand] = {
    BASE: by_trio,
    "horus_trio": by_horus_trio,
    "trio_util.periodic": by_periodic,
    "asyncio.sleep": by_asyncio,
    "threads, time.sleep": by_threads,
    "a timerfd and epoll": by_timerfd,
}
ONE_NODE = ("trio_util.periodic", "a timerfd and epoll")

REPETITIONS = either(5, 1)
SECONDS = either(2.0, 0.1)

COLD = "the kernel's own wake-up is half of it, and nothing of the process is in the caches then"
SEVERAL_TURNS = "a tick needs the interpreter several times, and waits for a turn each time"
A_START = "start and stop are a fifth of it, and each tick is more than a sleep"


def p(fraction: float) -> Callable[[Run], float]:
    return lambda run: run.p(fraction)


def on_a_quiet_process(title: str, job: Job, at_most: float) -> None:
    """Lateness, and the ticks that were kept."""
    hands = dict(HANDS)
    if job.nodes > 1:
        for name in ONE_NODE:
            del hands[name]
    runs = gather(f"Lateness of {title}", job, hands, REPETITIONS)
    for fraction, target in (
        (0.5, Target(at_most=at_most, why_missed=COLD)),
        (0.99, Target(at_most=1.0)),
    ):
        compare(
            f"Lateness p{fraction * 100:.0f} of {title}",
            "ms",
            figure(runs, p(fraction)),
            base=BASE,
            repetitions=REPETITIONS,
            targets={"horus_trio": target},
        )
    whole = job.nodes * job.ticks
    counts(
        f"Ticks of {title} that began within their period",
        "median",
        [
            Count(name=n, figure=middle(r, lambda run: run.kept(job)), whole=whole)
            for n, r in runs.items()
        ],
    )


def beside_a_busy_thread() -> None:
    """A pure-Python thread gives the interpreter back when asked: after a switch interval."""
    job = Job(rate=100.0, seconds=1.5 * SECONDS)
    with busy_thread():
        runs = gather(
            "Beside a busy thread",
            job,
            {name: HANDS[name] for name in (BASE, "horus_trio", "asyncio.sleep")},
            REPETITIONS,
        )
    title = "one node at 100 Hz beside a busy Python thread"
    for fraction, target in (
        (0.5, Target(at_most=1.0)),
        (0.99, Target(at_most=0.5, why_missed=SEVERAL_TURNS)),
    ):
        compare(
            f"Lateness p{fraction * 100:.0f} of {title}",
            "ms",
            figure(runs, p(fraction)),
            base=BASE,
            repetitions=REPETITIONS,
            targets={"horus_trio": target},
        )
    compare(
        f"CPU of the loop's thread, {title}",
        "µs a tick",
        figure(runs, lambda run: run.loop_cpu / job.ticks * 1e6),
        base=BASE,
        repetitions=REPETITIONS,
        targets={"horus_trio": Target(at_most=1.5)},
    )


def cost_of_waiting() -> None:
    """At 10 Hz nearly all of the time is waiting: whoever waits busily spends all of a core."""
    title = "CPU of one node at 100 Hz, start and stop included"
    job = Job(rate=100.0, seconds=SECONDS)
    hands = {name: HANDS[name] for name in (BASE, "horus_trio", "asyncio.sleep")}
    compare(
        title,
        "% of a core",
        figure(gather(title, job, hands, REPETITIONS), lambda run: run.cpu / SECONDS * 100),
        base=BASE,
        repetitions=REPETITIONS,
        targets={"horus_trio": Target(at_most=1.3, why_missed=A_START)},
    )
    title = "CPU of one node at 10 Hz, of all the seconds there were"
    job = Job(rate=10.0, seconds=2 * SECONDS)
    runs = gather(title, job, hands, 3)
    counts(
        title,
        "seconds, start and stop included; a loop that waits busily takes them all",
        [
            Count(
                name=name,
                figure=round(middle(of, lambda run: run.cpu), 4),
                whole=job.seconds,
                target=Target(at_most=0.03) if name == "horus_trio" else None,
            )
            for name, of in runs.items()
        ],
    )


def main() -> None:
    print_machine()
    on_a_quiet_process("one node at 100 Hz", Job(rate=100.0, seconds=SECONDS), 0.25)
    on_a_quiet_process("one node at 1 kHz", Job(rate=1000.0, seconds=SECONDS / 2), 0.25)
    on_a_quiet_process("200 nodes at 50 Hz", Job(nodes=200, rate=50.0, seconds=SECONDS), 0.3)
    beside_a_busy_thread()
    cost_of_waiting()


if __name__ == "__main__":
    main()
