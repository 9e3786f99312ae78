"""The sequences of the design's pages: what calls what in a tick, in a failure and in a stop."""

from __future__ import annotations

from sequence import Note, Part, Sequence, Step

__all__ = ["SEQUENCES"]

TICK = Sequence(
    name="tick",
    title="The life of a tick",
    caption="a def tick in a thread of the pool, by a rate; it sends a message and returns",
    parts=(
        Part(name="metronome", lines=("metronome",)),
        Part(name="mailbox", lines=("mailbox",)),
        Part(name="task", lines=("node's", "task")),
        Part(name="thread", lines=("worker", "thread")),
        Part(name="topics and observers", lines=("topics,", "observers")),
    ),
    steps=(
        Step(
            "metronome",
            "metronome",
            "its alarm rings at a grid point",
            "scheduler.metronome:Beat._ring",
            "wait",
        ),
        Step(
            "metronome",
            "mailbox",
            "releases the node; the next alarm is set",
            "executor.mailbox:Mailbox.release",
        ),
        Step(
            "mailbox",
            "mailbox",
            "the node is ready: the release is counted",
            "health:Ledger.release",
        ),
        Step("mailbox", "task", "the Tick wakes the task", "executor.mailbox:Mailbox.taken"),
        Step("task", "task", "the node's seat learns now, dt and seq", "node.seat:Seat.turn_page"),
        Step(
            "task",
            "task",
            "takes a token, or waits for one",
            "executor.threads:ThreadCall._take_token",
            "wait",
        ),
        Step(
            "task",
            "thread",
            "hands the call over, and its context",
            "executor.threads:WorkerThread.submit",
        ),
        Step(
            "thread", "thread", "runs the hook, under the fence", "executor.threads:ThreadCall.work"
        ),
        Step(
            "thread",
            "topics and observers",
            "what it sends passes the fence",
            "topics.hub:Hub.send",
            "ok",
        ),
        Step(
            "thread",
            "task",
            "has returned: the token goes back",
            "executor.threads:ThreadCall.returned",
        ),
        Step("task", "task", "settled, once, as one of five: OK", "health:Ledger.succeed", "ok"),
        Step(
            "task",
            "topics and observers",
            "the AsyncResult",
            "executor.executor:AsyncIOExecutor.publish",
            "ok",
        ),
        Step("task", "mailbox", "ready for the next release", "executor.mailbox:Mailbox.done"),
    ),
)

FAILURE = Sequence(
    name="failure",
    title="The life of a failure",
    caption="a critical node with Restart(max_restarts=1): one failure, and one too many",
    parts=(
        Part(name="node", lines=("your", "node")),
        Part(name="task", lines=("node's", "task")),
        Part(name="judge", lines=("judge,", "policy")),
        Part(name="safety", lines=("safety", "chain")),
        Part(name="run", lines=("the run",)),
    ),
    steps=(
        Step(
            "node",
            "task",
            "the tick raises: settled as ERROR",
            "executor.ticker:Ticker._failed",
            "error",
        ),
        Step("task", "judge", "counted, and logged if it is new", "executor.judge:Judge.note"),
        Step(
            "task",
            "node",
            "on_error(error); it cannot swallow it",
            "executor.runner:NodeRunner._decide",
        ),
        Step("task", "judge", "what follows? The policy: Rebuild", "executor.judge:Judge.decide"),
        Step("task", "node", "shutdown, under its time limit", "executor.runner:NodeRunner._end"),
        Step(
            "task",
            "task",
            "backs off; siblings notice nothing",
            "executor.runner:NodeRunner._enter",
            "wait",
        ),
        Step(
            "task",
            "node",
            "a new fence, a fresh instance, init",
            "executor.runner:NodeRunner._begin",
            "ok",
        ),
        Step(
            "task", "task", "ticks on, on its old grid", "executor.runner:NodeRunner._serve", "ok"
        ),
        Note("and it fails again, within the window"),
        Step(
            "node",
            "task",
            "the tick raises: settled as ERROR",
            "executor.ticker:Ticker._failed",
            "error",
        ),
        Step(
            "task",
            "judge",
            "the policy: GiveUp; the error gets a note",
            "executor.judge:Judge.decide",
            "error",
        ),
        Step(
            "task",
            "safety",
            "critical: an emergency begins",
            "executor.safety:SafetyChain.trip",
            "safe",
        ),
        Step(
            "safety",
            "node",
            "enter_safe_state, once",
            "executor.safe_state:SafeState.enter",
            "safe",
        ),
        Step("task", "run", "the node has left, FAILED", "scheduler.run:Run._node_left", "error"),
        Step(
            "run",
            "run",
            "fatal: the others are stopped in turn",
            "executor.executor:AsyncIOExecutor.shutdown_all",
        ),
        Step(
            "run",
            "run",
            "RunFailed, of the original exceptions",
            "scheduler.run:Run.failures",
            "error",
        ),
    ),
)

SHUTDOWN = Sequence(
    name="shutdown",
    title="Shutdown, step by step",
    caption="drive, of order 1, is idle; camera, of order 0, never returns from its shutdown",
    parts=(
        Part(name="caller", lines=("caller,", "signal")),
        Part(name="run", lines=("the run",)),
        Part(name="executor", lines=("executor",)),
        Part(name="drive", lines=("drive's", "task")),
        Part(name="camera", lines=("camera's", "task")),
    ),
    steps=(
        Step("caller", "run", "stop(reason), in any thread", "scheduler.run:Run.stop"),
        Step("run", "run", "no more releases", "scheduler.metronome:Metronome.stop"),
        Step(
            "run",
            "executor",
            "stop them all, within stop_timeout",
            "executor.executor:AsyncIOExecutor.shutdown_all",
        ),
        Step("executor", "executor", "an alarm for the worst case", "timer:Alarm.set", "wait"),
        Step(
            "executor",
            "camera",
            "every node is told to finish what it is in",
            "executor.runner:NodeRunner.leave",
        ),
        Step(
            "executor",
            "drive",
            "Shutdown overtakes a tick that waits",
            "executor.mailbox:Mailbox.shut",
        ),
        Step(
            "drive",
            "drive",
            "its turn: tasks end, then its shutdown",
            "executor.runner:NodeRunner._end",
            "ok",
        ),
        Step(
            "drive",
            "executor",
            "waiting ticks CANCELLED, fence closed",
            "executor.runner:NodeRunner._finish",
            "ok",
        ),
        Step(
            "camera",
            "camera",
            "its turn; its shutdown hangs",
            "executor.worker:Worker.call_hook",
            "late",
        ),
        Note("the alarm rings, 0.3 s before stop_timeout is over"),
        Step(
            "executor",
            "executor",
            "hurry; critical nodes enter safe states",
            "executor.executor:AsyncIOExecutor.force_all",
            "error",
        ),
        Step(
            "executor",
            "camera",
            "what is in flight is cut; hooks have 0.3 s",
            "executor.runner:NodeRunner.force",
            "error",
        ),
        Step(
            "camera",
            "executor",
            "it has left; the report will list it",
            "executor.runner:NodeRunner._finish",
            "late",
        ),
        Note("all nodes have left"),
        Step("run", "executor", "threads and timer end", "executor.executor:AsyncIOExecutor.close"),
        Step("run", "caller", "the RunReport", "scheduler.run:Run.make_report"),
    ),
)

SEQUENCES = (TICK, FAILURE, SHUTDOWN)
"""All of them."""
