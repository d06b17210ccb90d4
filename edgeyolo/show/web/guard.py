"""The door in front of every address: names, origins, tokens, and the headers of every answer.

Owns what is refused before a handler sees it, and the sign-in. Refuses to serve anything else.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from edgeyolo.show.web.access import Access
from edgeyolo.show.web.address import Names
from edgeyolo.show.web.messages import (
    App,
    HttpError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    read_body,
)

__all__ = ["Guard"]

_log = logging.getLogger(__name__)

# Nothing from elsewhere, nothing inline, no frame of another page around this one.
# blob: is a picture that the page cut out of the stream itself.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer the sign-in form would have no Origin to check
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_SAFE = frozenset({"GET", "HEAD"})
_PUBLIC = ("/assets/", "/favicon.ico")
_FORM_BYTES = 4096


class Guard:
    """An ASGI application around another.

    Args:
        app: What is guarded.
        access: Who may come in.
        names: Which hosts and origins are ours.
        sign_in_page: HTML shown to a browser that has shown no token.
    """

    def __init__(self, app: App, access: Access, names: Names, *, sign_in_page: bytes) -> None:
        self._app = app
        self._access = access
        self._names = names
        self._sign_in_page = sign_in_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check and pass on; an error is answered, and only one of ours in the server is logged."""
        started = False

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = {name for name, _ in message["headers"]}
                keep = [] if b"cache-control" in own else [(b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *keep, *_HEADERS]
            await send(message)

        try:
            request = Request(scope, receive)
            answer = await self._stopped(request)
            if answer is None:
                await self._app(scope, receive, with_headers)
                return
        except HttpError as error:
            answer = error.response()
        except Exception:  # noqa: BLE001 - one request's fault must not end another's
            # What is in the request may be secret; the traceback names code only.
            _log.exception("the web page failed at %s", scope.get("path"))
            answer = HttpError(500, "the server failed; its log says how").response()
        if not started:
            await answer.send_to(with_headers)

    async def _stopped(self, request: Request) -> Response | None:
        """Give what is answered instead; None lets the request through."""
        self._check_site(request)
        if self._access.open:
            return None
        if request.path == "/sign-in" and request.method == "POST":
            form = parse_qs((await read_body(request, limit=_FORM_BYTES)).decode("latin-1"))
            self._try_token(request, form.get("token", [""])[0].strip())
            return self._enter("/")
        if request.method in _SAFE and (shown := dict(request.query()).get("token")) is not None:
            self._try_token(request, shown)
            rest = [(key, value) for key, value in request.query() if key != "token"]
            return self._enter(quote(request.path) + ("?" + urlencode(rest) if rest else ""))
        if self._is_known(request) or request.path.startswith(_PUBLIC):
            return None
        if request.path == "/healthz":
            request.scope["reasons"] = False  # a probe without a token learns yes or no
            return None
        if "text/html" in request.headers.get("accept", ""):
            return self._sign_in(request)
        raise HttpError(
            401,
            "a token is needed",
            hint="header Authorization: Bearer TOKEN",
            headers={"www-authenticate": 'Bearer realm="edgeyolo"'},
        )

    def _check_site(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if not self._names.serves(host):
            raise HttpError(421, "this name is not served here", hint="edgeyolo run --web-host NAME")
        origin = request.headers.get("origin")
        if origin is not None and not self._names.may_act(origin, host=host):
            raise HttpError(403, "a page of another origin may not use this one")
        # Browsers say so of pictures too, which carry no Origin: no other site may show what a camera sees.
        site, mode = (request.headers.get(f"sec-fetch-{key}") for key in ("site", "mode"))
        if origin is None and site not in (None, "none", "same-origin") and mode != "navigate":
            raise HttpError(403, "a page of another site may not use this one")

    def _is_known(self, request: Request) -> bool:
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            self._try_token(request, shown.strip())
            return True
        return self._access.has_cookie(request.headers.get("cookie", ""))

    def _try_token(self, request: Request, shown: str) -> None:
        guesses = self._access.guesses
        if (wait_s := guesses.wait_s(request.client)) > 0:
            raise HttpError(
                429,
                f"too many wrong tokens; wait {wait_s:.0f} s",
                headers={"retry-after": str(int(wait_s) + 1)},
            )
        if not self._access.is_token(shown):
            guesses.add(request.client)
            raise HttpError(401, "the token is wrong", headers={"www-authenticate": "Bearer"})

    def _sign_in(self, request: Request) -> Response:
        # A browser that follows a link of another site keeps a strict cookie back; asked again by our own
        # page, it shows it.
        again = {"refresh": "0"} if request.headers.get("sec-fetch-site") == "cross-site" else {}
        kind = "text/html; charset=utf-8"
        return Response(body=self._sign_in_page, content_type=kind, status=401, headers=again)

    def _enter(self, path: str) -> Response:
        # "//host" would lead to another site.
        clean = "/" + path.lstrip("/")
        return Response(status=303, headers={"location": clean, "set-cookie": self._access.set_cookie()})
