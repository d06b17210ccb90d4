"""Why a network camera cannot be reached, in words: libraries often say no more than "generic error".

Owns asking name service, port and certificate. Refuses to speak a camera's protocol.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

from edgeyolo.camera.address import Address

__all__ = ["tls_context", "why_unreachable"]

_POLL_S = 0.05


def why_unreachable(address: Address, *, timeout_s: float, cancel: threading.Event) -> str:
    """Find out why a connection failed.

    Args:
        address: Of a network camera.
        timeout_s: Seconds, the name service included.
        cancel: Ends the question at once.

    Returns:
        Words that go after "no connection: ".

    Examples:
        >>> camera = Address.parse("rtsp://127.0.0.1:1/cam")
        >>> why_unreachable(camera, timeout_s=5, cancel=threading.Event())
        'nothing listens on port 1 of 127.0.0.1 (connection refused)'
    """
    answer: list[str] = []
    # The name service cannot be interrupted: it is asked in a thread that may be left behind for a while.
    thread = threading.Thread(
        target=lambda: answer.append(_ask(address, timeout_s)), name="edgeyolo-reach", daemon=True
    )
    thread.start()
    for _ in range(max(1, int(timeout_s / _POLL_S))):
        thread.join(_POLL_S)
        if answer or cancel.is_set():
            break
    return answer[0] if answer else f"{address.host} does not answer within {timeout_s:g} s"


def tls_context(address: Address) -> ssl.SSLContext:
    """Give how TLS is spoken with a camera: its certificate is checked unless the user said otherwise."""
    context = ssl.create_default_context()
    if not address.options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _ask(address: Address, timeout_s: float) -> str:
    host, port = address.host, address.port
    with contextlib.ExitStack() as stack:
        try:
            plain = stack.enter_context(socket.create_connection((host, port), timeout=timeout_s))
            if address.scheme in ("rtsps", "https"):
                stack.enter_context(tls_context(address).wrap_socket(plain, server_hostname=host))
        except (socket.gaierror, UnicodeError):
            return f"no host of the name {host} is known"
        except ConnectionRefusedError:
            return f"nothing listens on port {port} of {host} (connection refused)"
        except TimeoutError:
            return f"{host} does not answer within {timeout_s:g} s"
        except ssl.SSLCertVerificationError as exc:
            return f"its certificate is not trusted here: {exc.verify_message} (?verify=0 takes it unchecked)"
        except ssl.SSLError:
            return f"{host} does not speak TLS on port {port}"
        except OSError as exc:
            return f"{host}: {exc.strerror or exc}"
    return f"{host} answers on port {port}, and then closes or speaks another protocol"
