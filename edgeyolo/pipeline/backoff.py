"""How long to wait before the next attempt: twice as long each time, never all at the same moment.

Owns the arithmetic. Refuses to wait.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

__all__ = ["BackOff"]


@dataclass
class BackOff:
    """Waiting times that grow from `first_s` to `most_s`, each shortened at random by up to a half.

    The chance keeps a dozen cameras behind one switch from coming back in step ("equal jitter": Amazon
    Builders' Library, "Timeouts, retries, and backoff with jitter").

    Args:
        first_s: Longest first wait, seconds.
        most_s: Longest wait, seconds.
        chance: Where the jitter comes from.

    Examples:
        >>> wait = BackOff(first_s=1.0, most_s=8.0, chance=random.Random(0))
        >>> [0.5 * 2**k <= wait.next_s() <= 2**k for k in range(4)]
        [True, True, True, True]
        >>> 4 <= wait.next_s() <= 8
        True
        >>> wait.reset(); wait.next_s() <= 1
        True
    """

    first_s: float = 0.5
    most_s: float = 30.0
    chance: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next_s(self) -> float:
        """Count a failure and give the seconds to wait."""
        longest = min(self.most_s, self.first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return longest * self.chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Forget the failures: it works again."""
        self.failures = 0
