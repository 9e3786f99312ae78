"""Defects to plant in the engine: chaos is worth something if it finds each of them."""

from __future__ import annotations

from patches import Patch

__all__ = ["PLANTED"]

PLANTED = (
    Patch(
        breaks="a result is dropped now and then",
        search="        if self._executor.is_observed:\n            self._executor.publish(\n",
        replace="        if self._executor.is_observed and tick.seq % 50 != 7:\n"
        "            self._executor.publish(\n",
    ),
    Patch(
        breaks="a tick is run twice now and then",
        search="            error = await tick(hook, message)\n",
        replace="            error = await tick(hook, message)\n"
        "            if error is None and message.seq % 50 == 7:\n"
        "                error = await tick(hook, message)\n",
    ),
    Patch(
        breaks="after a second restart a shutdown is skipped",
        search="        if self._hooks.shutdown is not None:\n            self._worker.renew",
        replace="        if self._hooks.shutdown is not None and self.ledger.restarts != 2:\n"
        "            self._worker.renew",
    ),
    Patch(
        breaks="a tick that raises keeps its token",
        search="        self.give_back()\n        self.pool.call_returned(self)\n",
        replace="        if not isinstance(self.result, outcome.Error):\n"
        "            self.give_back()\n"
        "        self.pool.call_returned(self)\n",
    ),
    Patch(
        breaks="an abandoned thread keeps its token",
        search="        if len(self._out) <= self.max_abandoned:\n            call.give_back()\n",
        replace="",
    ),
    Patch(
        breaks="an abandoned tick may still publish",
        search="            self.fence.close()\n            self.pool.call_left_behind(self)\n",
        replace="            self.pool.call_left_behind(self)\n",
    ),
    Patch(
        breaks="a node ticks on while its thread is out",
        search='        self.phase = "stuck: its thread has not returned"\n'
        "        await self._worker.wait_while_stuck()\n",
        replace='        self.phase = "stuck: its thread has not returned"\n'
        "        self._worker.stuck = None\n",
    ),
    Patch(
        breaks="what LATEST and DROP_OLDEST drop is not always counted",
        search="            return True\n        self._dropped += 1\n        try:\n",
        replace="            return True\n        self._dropped += self._received % 3 > 0\n"
        "        try:\n",
    ),
    Patch(
        breaks="a message overtakes another one",
        search="            value = buffer.popleft()\n        except IndexError:\n"
        "            self._received -= 1\n            raise self._refusal()",
        replace="            value = buffer.pop()\n        except IndexError:\n"
        "            self._received -= 1\n            raise self._refusal()",
    ),
    Patch(
        breaks="a miss of many releases counts as one",
        search="        self.released += count\n        self.missed += count\n",
        replace="        self.released += count\n        self.missed += min(count, 1)\n",
    ),
    Patch(
        breaks="a restart resumes a paused node",
        search='        """The node serves from now on."""\n',
        replace='        """The node serves from now on."""\n        self.paused = False\n',
    ),
    Patch(
        breaks="set_rate leaves the old beat going",
        search="            return  # NaN, still starting: the beat begins with the others'\n"
        "        if member.beat is not None:\n            member.beat.stop()\n",
        replace="            return  # NaN, still starting: the beat begins with the others'\n",
    ),
    Patch(
        breaks="an init that succeeds late is not undone",
        search="        undone = outcome.capture(shutdown.call)\n",
        replace="        undone = outcome.capture(lambda: None)\n",
    ),
    Patch(
        breaks="critical nodes tick on in an emergency",
        search="        self._turnstile.held = True\n",
        replace="        self._turnstile.held = False\n",
    ),
    Patch(
        breaks="a restart begins the counting anew",
        search="                self.ledger.restarts += 1\n",
        replace="                self.ledger.restarts += 1\n"
        "                self.ledger.failures = 0\n",
    ),
    Patch(
        breaks="a failure that is not critical ends the run",
        search="            self.fatal = isinstance(decision, EndRun) or self.options.critical\n",
        replace="            self.fatal = True\n",
    ),
    Patch(
        breaks="an init runs in another thread than its node's own",
        search="        own = self.own\n        if own is not None and not own.is_free",
        replace='        own = None if call.what == "init" else self.own\n'
        "        if own is not None and not own.is_free",
    ),
    Patch(
        breaks="signal handlers are not put back",
        search="                earlier = self._handler_before(signum)\n",
        replace="                earlier = None\n",
    ),
)
