"""The one logging configuration of server, agent and command line: structured lines on stderr.

Every line is one JSON object (or, for people, one line of the same fields). Both escape control
characters, so nothing an attacker planted in a field reaches a terminal. Fields named in
`SECRET_FIELDS` are redacted and byte strings are never shown, at any depth: a second net under the
rule that secrets are not given to a logger at all.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
SECRET_FIELDS: Final = frozenset(
    {
        "authorization",
        "bearer",
        "client_token",
        "content_key",
        "cookie",
        "credential",
        "join_token",
        "key_pem",
        "password",
        "passphrase",
        "private_key",
        "ratchet_secret",
        "secret",
        "token",
    }
)
LEVELS: Final = ("debug", "info", "warning", "error")
_CORRELATION_BYTES: Final = 8
# What ASCII leaves: none of these stands outside of strings in JSON text.
_ON_A_LINE: Final = MappingProxyType({0x7F: "\\u007f"})
_IN_JSON: Final = MappingProxyType({ord(c): f"\\u{ord(c):04x}" for c in "\x7f<>&"})
_MAX_DEPTH: Final = 8  # deeper values are a mistake of the caller, and are cut off


def configure(*, as_json: bool, level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's loggers to `stream` (stderr), one line a record.

    Called once, by a process's entry point, before anything logs.

    Args:
        as_json: JSON objects for machines, else one readable line of the same fields.
        level: one of `LEVELS`.
        stream: where lines go; stderr when None.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        redact,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            render_json if as_json else render_line,
        ],
    )
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; pass `__name__`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def new_correlation_id() -> str:
    """Return an id that ties log lines, an answer and an operator's question together."""
    return secrets.token_hex(_CORRELATION_BYTES)


@contextmanager
def correlated(correlation_id: str) -> Iterator[None]:
    """Put `correlation_id` on every line logged inside, by this task and those it starts."""
    with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
        yield


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace secret fields and byte strings, at any depth."""
    return {name: _redacted(name, value, _MAX_DEPTH) for name, value in event.items()}


def render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Render one JSON object in ASCII: nothing in it acts on a terminal, or on a page with logs."""
    return json.dumps(event, default=str, sort_keys=False).translate(_IN_JSON)


def render_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Render one line for people: time, level, event, then the other fields as name=JSON."""
    rest = dict(event)
    time, level, what = (rest.pop(name, "") for name in ("time", "level", "event"))
    rest.pop("logger", None)
    fields = "".join(f" {name}={json.dumps(value, default=str)}" for name, value in rest.items())
    return f"{time} {level} {json.dumps(str(what))[1:-1]}{fields}".translate(_ON_A_LINE)


def _redacted(name: str, value: object, depth: int) -> object:
    if name in SECRET_FIELDS:
        return REDACTED
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth == 0:
        return "<too deep>"
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item, depth - 1) for key, item in value.items()}
    # `_record` and friends of structlog are not containers of ours and pass untouched.
    if isinstance(value, list | tuple | set | frozenset) and not name.startswith("_"):
        return [_redacted("", item, depth - 1) for item in value]
    return value
