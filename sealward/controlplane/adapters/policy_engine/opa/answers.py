"""From what an OPA server answered to the policy's answer, or to a refusal that says why.

200 with our mount's answer         the answer, canonical
200 with our mount's missing names  UNDEFINED
200 without a result                the server no longer holds the mount: `Gone`
500 with errors of an evaluation    ERROR, with the place in the author's file
anything else                       CRASHED: this is no answer of an OPA server to us
"""

from __future__ import annotations

import re
from typing import Final

from sealward.controlplane.adapters.policy_engine.opa.client import (
    MAX_DETAIL_CHARACTERS,
    Answer,
)
from sealward.controlplane.adapters.policy_engine.opa.mount import Mount
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

_OK: Final = 200
_REFUSED: Final = 400
_FAILED: Final = 500
_MAX_DEPTH: Final = (
    json.MAX_DEPTH + 2
)  # an answer as deep as the embedded engine's, and its wrapping
_RESULT: Final = re.compile(rb'\{"(?:decision_id|result|warning)":')
_CANCELLED: Final = "eval_cancel_error"
_HINTS: Final = {
    301: "it redirects, which is not followed; give the address that it redirects to",
    302: "it redirects, which is not followed; give the address that it redirects to",
    307: "it redirects, which is not followed; give the address that it redirects to",
    308: "it redirects, which is not followed; give the address that it redirects to",
    401: "it does not accept who we are; see its --authentication and --authorization",
    403: "its authorization policy refuses us; see docs/run-a-control-plane.md",
    404: "it has no such page; is this an OPA server, without a prefix in its paths?",
}


class Gone(Exception):
    """The server knows nothing of this mount: it was started anew, or somebody removed it."""


def policy_answer(answer: Answer, mount: Mount) -> bytes:
    """Return the policy's answer as canonical JSON.

    Raises:
        Gone: the mount is not there.
        PolicyEngineError: there is no answer.
    """
    if answer.status != _OK:
        raise failure(answer, mount)
    body = _object(answer)
    if not {"result", "warning"} & set(body):
        raise Gone
    match body.get("result"):
        case {"mount": mount.name, "answer": value, **more} if not more:
            try:
                return json.canonical(value)  # type: ignore[arg-type]  # floats raise TypeError
            except (TypeError, ValueError) as error:
                raise PolicyEngineError(EngineFault.ERROR, f"policy answer: {error}") from None
        case {"mount": mount.name, "missing": list(names), **more} if not more:
            listed = ", ".join(str(name) for name in names)
            raise PolicyEngineError(EngineFault.UNDEFINED, f"no value for {listed}")
        case _:
            raise PolicyEngineError(
                EngineFault.CRASHED, "OPA's answer does not come from the policy that was asked"
            )


def failure(answer: Answer, mount: Mount | None = None) -> PolicyEngineError:
    """Return what went wrong, for an answer with another status than 200."""
    if answer.status in (_REFUSED, _FAILED):
        match _object(answer):
            case {"code": str(), "errors": [dict(first), *_]}:
                if first.get("code") == _CANCELLED:
                    return PolicyEngineError(EngineFault.TIMEOUT, "OPA gave the evaluation up")
                return PolicyEngineError(EngineFault.ERROR, _describe(first, mount))
            case {"code": str(code), "message": str(message)}:
                return _not_ours(f"status {answer.status}, {code}: {message}")
            case _:
                pass
    return _not_ours(f"status {answer.status}: {_HINTS.get(answer.status, 'not an answer of OPA')}")


def _object(answer: Answer) -> dict[str, json.Value]:
    try:
        body = json.decode(
            answer.body, what="OPA's answer", max_bytes=len(answer.body), max_depth=_MAX_DEPTH
        )
    except MalformedEvidence as error:
        if answer.status == _OK and _RESULT.match(answer.body):
            # OPA's own, but deeper or with other numbers than are read: the policy made it so.
            raise PolicyEngineError(EngineFault.ERROR, f"policy answer: {error.detail}") from None
        raise _not_ours(f"status {answer.status}: {error.detail}") from None
    if not isinstance(body, dict):
        raise _not_ours(f"status {answer.status}: OPA's answer is no object")
    return body


def _describe(error: dict[str, json.Value], mount: Mount | None) -> str:
    """Return one line, file:line:column of the author's text first where they are known."""
    message = " ".join(str(error.get("message", "")).split())
    where = ""
    match error.get("location"):
        case {"file": str(file), "row": int(row), "col": int(column)}:
            modules = mount.modules if mount is not None else ()
            found = next((module for module in modules if module.id == file), None)
            if found is not None and found.origin is not None:
                where = f"{found.origin}:{row}:{found.column(row, column)}: "
            else:
                where = f"{file}:{row}:{column}: "
        case _:
            pass
    if mount is not None:  # names as the author knows them
        message = message.replace(".".join(("data", *mount.prefix)), "data")
    return f"{where}{message}"[:MAX_DETAIL_CHARACTERS]


def _not_ours(detail: str) -> PolicyEngineError:
    return PolicyEngineError(
        EngineFault.CRASHED, f"OPA gave no answer, {detail}"[:MAX_DETAIL_CHARACTERS]
    )
