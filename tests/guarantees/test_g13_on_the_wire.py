"""G13 safety, on a real wire: STOP comes within 0.3 s of an emergency, and nothing follows it.

The motor is at the end of a pty that another process reads and stamps with the time, while eight
nodes hang in their threads and hold every token of the pool.
"""

from __future__ import annotations

import signal
import time

import pytest
from motor_bench import Wire, wired

PROMISE = 0.3
"""Seconds from the emergency to the STOP on the wire."""

LATER = 0.7
"""Seconds for which the wire is watched after it."""

pytestmark = pytest.mark.slow


def check_stop(wire: Wire, emergency: float) -> None:
    """STOP came in time, once, and nothing after it."""
    wire.wait_for_wire("STOP")
    time.sleep(LATER)
    heard = wire.heard()
    [(stopped, _)] = [entry for entry in heard if entry[1] == "STOP"]
    assert heard[-1][1] == "STOP", heard[-5:]
    assert stopped - emergency <= PROMISE


def drive(wire: Wire, count: int = 5) -> None:
    """Wait until the motor is driven and everything hangs that should."""
    wire.wait_for_wire("SPEED", count)
    time.sleep(0.2)


MOTORS = ["Motor('motor', thread='own')", "AsyncMotor('motor')"]


@pytest.mark.parametrize("motor", MOTORS)
def test_sigterm_while_eight_nodes_hang(motor: str) -> None:
    script = f"""
    scheduler = eight_hung(horus.Scheduler(50))
    scheduler.add({motor}, critical=True)
    scheduler.run()
    """
    with wired(script) as wire:
        drive(wire)
        check_stop(wire, wire.signal(signal.SIGTERM))
        assert "the stop is held up" in wire.said()


@pytest.mark.parametrize("motor", MOTORS)
def test_sigterm_twice_while_eight_nodes_hang(motor: str) -> None:
    script = f"""
    scheduler = eight_hung(horus.Scheduler(50))
    scheduler.add({motor}, critical=True)
    scheduler.run()
    """
    with wired(script) as wire:
        drive(wire)
        wire.signal(signal.SIGTERM)
        time.sleep(0.02)
        check_stop(wire, wire.signal(signal.SIGTERM))
        wire.robot.wait(10)


@pytest.mark.parametrize(
    "block", ["while True: pass", "time.sleep(3600)", "while True: ctypes.CDLL(None).usleep(10**6)"]
)
def test_sigterm_while_the_loop_is_blocked_too(block: str) -> None:
    script = f"""
    async def block(node):
        if node.current_tick.seq >= 25:
            say("blocking")
            {block}

    scheduler = eight_hung(horus.Scheduler(50))
    scheduler.add(Motor("motor", thread="own"), critical=True)
    scheduler.add(horus.Node("blocker", tick=block))
    scheduler.run()
    """
    with wired(script) as wire:
        wire.wait_for("blocking")
        time.sleep(0.2)
        check_stop(wire, wire.signal(signal.SIGTERM))
        wire.wait_for("EMERGENCY: a stop does not get through")
        wire.wait_for("node 'blocker'")


def test_a_second_signal_is_heard_while_the_loop_is_in_c_code() -> None:
    """The main thread runs no Python, so the handler of neither signal has run."""
    script = """
    async def block(node):
        if node.current_tick.seq >= 25:
            say("blocking")
            libc = ctypes.CDLL(None)
            signals = (ctypes.c_ulong * 16)()
            libc.sleep(3)
            say("unblocked")

    import signal
    # Another thread takes the signals, so that not even the sleep is cut short.
    scheduler = eight_hung(horus.Scheduler(50, stop_timeout=1))
    scheduler.add(Motor("motor", thread="own"), critical=True)
    scheduler.add(horus.Node("blocker", tick=block))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    other = threading.Thread(target=lambda: (
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}), time.sleep(60)), daemon=True)
    other.start()
    scheduler.run()
    """
    with wired(script) as wire:
        wire.wait_for("blocking")
        time.sleep(0.2)
        first = wire.signal(signal.SIGTERM)
        time.sleep(0.02)
        wire.signal(signal.SIGTERM)
        check_stop(wire, first)
        assert "unblocked" not in wire.said()


@pytest.mark.parametrize("motor", MOTORS)
def test_an_emergency_from_another_thread_and_its_reset(motor: str) -> None:
    script = f"""
    scheduler = eight_hung(horus.Scheduler(50))
    scheduler.add({motor}, critical=True)

    def press():
        sys.stdin.readline()

    def button():
        time.sleep(1.0)
        say(f"pressed {{time.monotonic()}}")
        report = scheduler.emergency_stop("the button")
        assert not report.unreached, report
        time.sleep(1.5)
        assert scheduler.emergency.reached == ("motor",), scheduler.emergency
        say("reset")
        scheduler.reset_emergency()

    threading.Thread(target=button, daemon=True).start()
    scheduler.run()
    """
    with wired(script) as wire:
        wire.wait_for("pressed")
        pressed = float(wire.said().split("pressed ")[1].split()[0])
        check_stop(wire, pressed)
        wire.wait_for("reset")
        before = len(wire.heard())
        wire.wait_for_wire("SPEED", wire.words().count("SPEED") + 5)
        assert "STOP" not in wire.words()[before:]


def test_a_fatal_failure_elsewhere() -> None:
    script = """
    def fail(node):
        if node.current_tick.seq >= 25:
            say(f"failing {time.monotonic()}")
            raise ValueError("battery")

    scheduler = eight_hung(horus.Scheduler(50))
    scheduler.add(Motor("motor", thread="own"), critical=True)
    scheduler.add(horus.Node("battery", tick=fail, thread="own", failure_policy=horus.Fatal()))
    scheduler.run()
    """
    with wired(script) as wire:
        wire.wait_for("failing")
        check_stop(wire, float(wire.said().split("failing ")[1].split()[0]))


def test_beside_another_safe_state_that_hangs_and_a_pool_that_is_dead() -> None:
    """No token is left, no more thread may be left behind, and the other critical nodes hang."""
    script = """
    scheduler = eight_hung(horus.Scheduler(50, max_abandoned=0), tick_timeout=0.1)
    for number in range(8):
        stuck = horus.Node(f"stuck {number}", tick=hang, enter_safe_state=hang)
        scheduler.add(stuck, critical=True)
    scheduler.add(Motor("motor", thread="own"), critical=True)
    scheduler.run()
    """
    with wired(script) as wire:
        drive(wire, 40)
        check_stop(wire, wire.signal(signal.SIGTERM))


def test_beside_a_busy_thread_and_a_flooded_topic() -> None:
    script = """
    def burn(node):
        while True:
            pass

    async def flood(node):
        for _ in range(200):
            node.send("flood", bytes(100))

    scheduler = eight_hung(horus.Scheduler(50))
    scheduler.add(Motor("motor", thread="own"), critical=True)
    scheduler.add(horus.Node("burner", tick=burn, thread="own"))
    scheduler.add(horus.Node("flood", tick=flood))
    scheduler.run()
    """
    with wired(script) as wire:
        drive(wire)
        check_stop(wire, wire.signal(signal.SIGTERM))


def test_a_tick_that_comes_back_late_writes_nothing_more() -> None:
    """It asks whether its time is over, or sends: both are refused from the emergency on."""
    script = """
    class Late(Motor):
        was_late = False

        def tick(self):
            if not self.was_late and self.current_tick.seq >= 20:
                self.was_late = True
                say("late")
                time.sleep(1.2)
                try:
                    self.send("speed", 1)
                except horus.TickAbandoned:
                    say("refused")
                self.check_cancelled()
            super().tick()

    scheduler = eight_hung(horus.Scheduler(50))
    scheduler.add(Late("motor", thread="own"), critical=True)
    scheduler.run()
    """
    with wired(script) as wire:
        wire.wait_for("late")
        time.sleep(0.2)
        check_stop(wire, wire.signal(signal.SIGTERM))
        wire.wait_for("refused")
        time.sleep(0.2)
        assert wire.words()[-1] == "STOP"
