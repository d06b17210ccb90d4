"""Who may come in: one token, its cookie, and a limit on guesses.

Owns the token's origin (file, environment, generated), its comparison in constant time, the cookie that
stands for it, and the count of wrong ones. The token is in no log and no answer; the cookie is not the token,
so that a stolen cookie does not give the token away.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from edgeyolo.errors import ConfigError

__all__ = ["ENVIRONMENT", "Access", "Guesses", "find_token"]

ENVIRONMENT = "EDGEYOLO_WEB_TOKEN"
_SHORTEST = 16
_COOKIE_DAYS = 30


def find_token(file: Path | None) -> str | None:
    """Read the token from a file or from the environment.

    Args:
        file: Its first line is the token; None asks the environment.

    Returns:
        None where neither has one.

    Raises:
        ConfigError: The file cannot be read, or the token is too short or not of printable ASCII.
    """
    if file is None:
        where, token = f"${ENVIRONMENT}", os.environ.get(ENVIRONMENT, "")
        if not token:
            return None
    else:
        where = f"--web-token-file {file}"
        try:
            token = file.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{where}: cannot be read: {exc}", hint=_how_to_make(file)) from exc
    if len(token) < _SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(
            f"{where}: a token of {_SHORTEST} or more letters and digits without spaces expected, "
            f"one of {len(token)} characters found",
            hint=_how_to_make(file or Path("web.token")),
        )
    return token


def _how_to_make(file: Path) -> str:
    return f"(umask 077; python3 -c 'import secrets; print(secrets.token_urlsafe())' > {file})"


class Guesses:
    """Counts wrong tokens by address; who guesses too often is not listened to for a while.

    Args:
        allowed: Wrong tokens within the window.
        window_s: Seconds.
        clock: Seconds that never go back.
    """

    _REMEMBERED = 1024  # addresses; the one that was quiet longest is forgotten

    def __init__(
        self, *, allowed: int = 10, window_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed = allowed
        self._window_s = window_s
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Give the seconds for which nothing from this address is compared; 0 while it may try."""
        count, since = self._wrong.get(client, (0, 0.0))
        left = since + self._window_s - self._clock()
        return max(left, 0.0) if count >= self._allowed else 0.0

    def add(self, client: str) -> None:
        """Note a wrong token."""
        count, since = self._wrong.pop(client, (0, 0.0))
        now = self._clock()
        if now >= since + self._window_s:
            count, since = 0, now
        self._wrong[client] = (count + 1, since)
        while len(self._wrong) > self._REMEMBERED:
            self._wrong.popitem(last=False)


class Access:
    """The check of tokens and cookies.

    Args:
        token: What must be shown; None lets everyone in.
        port: Part of the cookie's name: cookies are a host's, and a host may have several pages.
    """

    def __init__(self, token: str | None, *, port: int) -> None:
        self._token = token
        self._cookie_name = f"edgeyolo_{port}"
        self.guesses = Guesses()

    @classmethod
    def with_new_token(cls, *, port: int) -> tuple[Access, str]:
        """Make one with a token of 256 random bits; the token is there to be printed once."""
        token = secrets.token_urlsafe(32)
        return cls(token, port=port), token

    @property
    def open(self) -> bool:
        """Whether nobody needs a token."""
        return self._token is None

    def is_token(self, shown: str) -> bool:
        """Compare in a time that does not tell how much of it is right."""
        return self._token is not None and hmac.compare_digest(shown.encode(), self._token.encode())

    def has_cookie(self, header: str) -> bool:
        """Tell whether a ``Cookie`` header has ours."""
        try:
            found = SimpleCookie(header).get(self._cookie_name)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._cookie_value().encode())

    def set_cookie(self) -> str:
        """Give the ``Set-Cookie`` header: no script reads it, and no other site's request carries it."""
        return (
            f"{self._cookie_name}={self._cookie_value()}; Path=/; HttpOnly; SameSite=Strict; "
            f"Max-Age={_COOKIE_DAYS * 86400}"
        )

    def _cookie_value(self) -> str:
        assert self._token is not None
        return hmac.new(self._token.encode(), b"edgeyolo web cookie", hashlib.sha256).hexdigest()
