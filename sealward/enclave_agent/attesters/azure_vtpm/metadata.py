"""What only Azure's host has, from the VM's metadata service: plain HTTP on a link-local address.

    POST /acc/tdquote {"report": base64url of a TDREPORT}     -> {"quote": base64url}
    GET  /metadata/THIM/amd/certification                     -> {"vcekCert": PEM,
                                                                  "certificateChain": PEM, ...}

The host answers, and the host is not trusted: what comes is bounded, handed on, and believed by a
verifier through its signatures or not at all. There are no redirects, proxies or names to look up:
`http.client` has none of them. A host that wants to keep us waiting can stop the whole machine, so
a limit for each read is enough; the agent's own limit for evidence stands above it.
"""

from __future__ import annotations

import functools
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, json
from sealward.verifier.wire.reader import check_budget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ADDRESS: Final = "169.254.169.254"
PORT: Final = 80
TIMEOUT_S: Final = 5.0  # a TD quote takes tens of milliseconds
ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 0.5  # doubles
MAX_ANSWER: Final = 64 * 1024
MAX_QUOTE: Final = 16 * 1024  # 5 KiB today, padded to 8000 bytes by some hosts
MAX_CHAIN: Final = 16 * 1024  # three certificates in PEM take 6 KiB

_TD_QUOTE: Final = "/acc/tdquote"
_CERTIFICATES: Final = "/metadata/THIM/amd/certification"
_OK: Final = 200
# The service is being updated, limits the rate, or has trouble of its own: Microsoft says to retry.
_RETRY: Final = frozenset({410, 429, 500, 503})
_HEADERS: Final = (("Accept", "application/json"), ("Connection", "close"), ("Metadata", "true"))


class MetadataError(Exception):
    """The service gave nothing of use; the message is a clause that says why."""


class MetadataService:
    """Asks the service; every method raises MetadataError and nothing else."""

    def __init__(
        self, connect: Callable[[], HTTPConnection], *, sleep: Callable[[float], None]
    ) -> None:
        """`connect` gives a new, unopened connection; `sleep` waits between attempts."""
        self._connect: Final = connect
        self._sleep: Final = sleep

    def obstacle(self) -> str | None:
        """Return a clause that says why the service cannot be reached, or None."""
        connection = self._connect()
        try:
            connection.connect()
        except OSError as error:
            return _unreached(error)
        finally:
            connection.close()
        return None

    def td_quote(self, td_report: bytes) -> bytes:
        """Have the host's quoting enclave turn a TDREPORT (1024 bytes) into a TD quote."""
        body = json.canonical({"report": base64.encode_url(td_report)})
        answer = self._ask("POST", _TD_QUOTE, body)
        try:
            text = _text(answer, "quote").rstrip("=")  # generations of the service differ in it
            return base64.decode_url(text, what="TD quote", max_bytes=MAX_QUOTE)
        except MalformedEvidence as error:
            raise _unreadable(error) from error

    def certificates(self) -> bytes:
        """Return the chip's VCEK and AMD's certificates above it, in PEM, unread."""
        answer = self._ask("GET", _CERTIFICATES, None)
        try:
            chain = f"{_text(answer, 'vcekCert')}\n{_text(answer, 'certificateChain')}".encode()
            check_budget(chain, MAX_CHAIN, "certificates")
        except MalformedEvidence as error:
            raise _unreadable(error) from error
        return chain

    def _ask(self, method: str, path: str, body: bytes | None) -> Mapping[str, json.Value]:
        pause = FIRST_PAUSE_S
        status, content = self._exchange(method, path, body)
        for _ in range(ATTEMPTS - 1):
            if status not in _RETRY:
                break
            self._sleep(pause)
            pause *= 2
            status, content = self._exchange(method, path, body)
        if status != _OK:
            raise MetadataError(f"Azure's metadata service answers {path} with status {status}")
        try:
            answer = json.decode(content, what="answer", max_bytes=MAX_ANSWER)
        except MalformedEvidence as error:
            raise _unreadable(error) from error
        if not isinstance(answer, dict):
            raise MetadataError("Azure's metadata service answers with something else than asked")
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = self._connect()
        headers = dict(_HEADERS) | ({} if body is None else {"Content-Type": "application/json"})
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER + 1)
        except OSError as error:
            raise MetadataError(_unreached(error)) from error
        except HTTPException as error:
            raise MetadataError("Azure's metadata service does not speak HTTP") from error
        finally:
            connection.close()


def of_this_machine(*, sleep: Callable[[float], None]) -> MetadataService:
    """Return the service that Azure gives every VM."""
    return MetadataService(
        functools.partial(HTTPConnection, ADDRESS, PORT, timeout=TIMEOUT_S), sleep=sleep
    )


def _text(answer: Mapping[str, json.Value], name: str) -> str:
    found = answer.get(name)
    if not isinstance(found, str):
        raise MalformedEvidence(0, f"no text under '{name}'")
    return found


def _unreached(error: OSError) -> str:
    why = error.strerror or type(error).__name__
    return (
        f"Azure's metadata service at {ADDRESS} cannot be reached ({why}; a firewall in this VM "
        "must let the agent through)"
    )


def _unreadable(error: MalformedEvidence) -> MetadataError:
    return MetadataError(f"the answer of Azure's metadata service cannot be read: {error}")
