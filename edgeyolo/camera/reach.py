"""Why a network camera cannot be reached, in words: libraries often say no more than "generic error".

Owns asking name service and port. Refuses to speak a camera's protocol.
"""

from __future__ import annotations

import contextlib
import socket
import threading

__all__ = ["why_unreachable"]

_POLL_S = 0.05


def why_unreachable(host: str, port: int, *, timeout_s: float, cancel: threading.Event) -> str:
    """Find out why a connection failed.

    Args:
        host: Name or address.
        port: TCP port.
        timeout_s: Seconds, the name service included.
        cancel: Ends the question at once.

    Returns:
        Words that go after "the camera cannot be reached: ".

    Examples:
        >>> why_unreachable("127.0.0.1", 1, timeout_s=5, cancel=threading.Event())
        'nothing listens on port 1 of 127.0.0.1 (connection refused)'
    """
    answer: list[str] = []
    # The name service cannot be interrupted: it is asked in a thread that may be left behind for a while.
    thread = threading.Thread(
        target=lambda: answer.append(_ask(host, port, timeout_s)), name="edgeyolo-reach", daemon=True
    )
    thread.start()
    for _ in range(max(1, int(timeout_s / _POLL_S))):
        thread.join(_POLL_S)
        if answer or cancel.is_set():
            break
    return answer[0] if answer else f"{host} does not answer within {timeout_s:g} s"


def _ask(host: str, port: int, timeout_s: float) -> str:
    try:
        with contextlib.closing(socket.create_connection((host, port), timeout=timeout_s)):
            return f"{host} answers on port {port}, and then closes or speaks another protocol"
    except (socket.gaierror, UnicodeError):
        return f"no host of the name {host} is known"
    except ConnectionRefusedError:
        return f"nothing listens on port {port} of {host} (connection refused)"
    except TimeoutError:
        return f"{host} does not answer within {timeout_s:g} s"
    except OSError as exc:
        return f"{host}: {exc.strerror or exc}"
