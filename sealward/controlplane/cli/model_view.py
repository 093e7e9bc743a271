"""How a sealed model's header is shown to people and to programs."""

from __future__ import annotations

from sealward.controlplane.cli.terminal import write_fields, write_json
from sealward.sealing.fields import format_instant
from sealward.sealing.header import SealedHeader


def show(header: SealedHeader, *, as_json: bool, state: str) -> None:
    """Print what a header says and how far it has been checked.

    Args:
        header: what to show.
        as_json: one JSON object instead of lines for people.
        state: what has been checked, for example "signatures and digests verified".
    """
    values = describe(header, state)
    if as_json:
        write_json(values)
        return
    write_fields(
        (name, line)
        for name, value in values.items()
        for line in (value if isinstance(value, list) else [value])
    )


def describe(header: SealedHeader, state: str) -> dict[str, str | int | list[str] | None]:
    """Return the header as flat JSON values; digests in hexadecimal."""
    core = header.core
    external = core.external_digest
    return {
        "state": state,
        "tenant": core.tenant,
        "workload": core.workload,
        "model": core.model,
        "version": core.version,
        "format": str(core.format),
        "parts": [f"{part.name} {part.length}" for part in core.parts],
        "file_bytes": header.file_bytes,
        "created": format_instant(core.created),
        "optimised_by": core.optimised_by,
        "creator": core.creator_key_id.hex(),
        "plain_digest": core.plain_digest.hex(),
        "external_digest": None if external is None else external.hex(),
        "core_digest": header.core_digest.hex(),
        "header_digest": header.header_digest.hex(),
        "content_key_id": core.content_key_id.hex(),
        "sealed_to": [f"{wrap.key_id.hex()} {wrap.suite}" for wrap in header.wraps],
    }
