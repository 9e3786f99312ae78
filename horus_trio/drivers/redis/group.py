"""Several readers who share a stream: each entry goes to one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...arguments import is_number
from ...errors import ConfigurationError

__all__ = ["ConsumerGroup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroup:
    """A consumer of a group of Redis. The server notes what each has been given.

    An entry is *acknowledged* when it need not be given out again. By default that is when it has
    been given out: the server gets to know with the next read, or at ``aclose``. If the program
    dies between, the last ones, a batch of them at most, are given out again to this consumer when
    it is back. With `explicit`, all are that `RedisStream.acknowledge` was not called for. In
    either case none is passed over: *at least once*.

    Attributes:
        name: Of the group.
        consumer: Who we are in it. The same after a restart, and another one in each program.
        explicit: Whether the program acknowledges entries itself.
        create: Whether to make the group, and the stream, if there is none.
        claim_after: Seconds after which entries that any consumer has been given and has not
            acknowledged are given out here: its program is dead. Longer than the work on one takes.
            Needs Redis 6.2. None: never.

    Raises:
        ConfigurationError: One of them makes no sense.
    """

    name: str
    consumer: str
    explicit: bool = False
    create: bool = True
    claim_after: float | None = None

    def __post_init__(self) -> None:
        for option, text in (("name", self.name), ("consumer", self.consumer)):
            if not isinstance(text, str) or not text:
                raise ConfigurationError(
                    f"ConsumerGroup({option}={text!r:.80}): expected a name that is not empty"
                )
        for option, flag in (("explicit", self.explicit), ("create", self.create)):
            if not isinstance(flag, bool):
                raise ConfigurationError(
                    f"ConsumerGroup({option}={flag!r:.80}): expected True or False"
                )
        after = self.claim_after
        if after is not None and (not is_number(after) or not 0.001 <= after < math.inf):
            raise ConfigurationError(
                f"ConsumerGroup(claim_after={after!r:.80}): expected a finite number of seconds, "
                "0.001 or more, or None"
            )
