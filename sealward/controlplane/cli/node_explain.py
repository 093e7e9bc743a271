"""`sealward node explain`: why something was denied, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import click

from sealward.controlplane.cli.remote import Item, Remote, remote, segment
from sealward.controlplane.cli.terminal import printable, write_fields, write_json

_ROW: Final = {
    "node_id": "node",
    "state": "state",
    "posture": "posture",
    "posture_code": "code",
    "tee": "tee",
    "platform_id": "platform",
    "last_attested": "last attested",
}
_REASON: Final = (
    ("claim", "claim"),
    ("expected", "expected"),
    ("actual", "found"),
    ("hint", "hint"),
    ("rule", "rule"),
    ("layer", "layer"),
)
_CAUSE: Final = (
    ("code", "cause"),
    ("nature", "nature"),
    ("rule", "rule"),
    ("layer", "layer"),
    ("claim", "claim"),
    ("expected", "expected"),
    ("actual", "found"),
    ("workload", "workload"),
)


@click.command("explain")
@click.argument("node_id", required=False)
@click.option("--correlation", metavar="ID", help="What a node quotes of a refusal.")
@remote
def explain(plane: Remote, node_id: str | None, correlation: str | None) -> None:
    """Say why NODE_ID, or the request that a correlation id names, was denied.

    Rule, claim, expected, found, the nearest reference value, when the claim last passed on this
    node, and what would mend it.
    """
    if (node_id is None) == (correlation is None):
        raise click.UsageError("give a NODE_ID or --correlation ID")
    path = (
        f"/v1/explanations/{segment(correlation or '')}"
        if node_id is None
        else f"/v1/nodes/{segment(node_id)}/explain"
    )
    found: Item = plane.get(path)
    if plane.as_json:
        write_json(found)
    elif node_id is None:
        write_fields(_of_explained(found))
        _write_others(found["others"])
    else:
        _write_node(plane, found)


def _write_node(plane: Remote, found: Item) -> None:
    if found["node"] is not None:
        plane.show(found["node"], _ROW)
        click.echo()
    if found["why"] is not None:  # what else was found stands with the decision below
        click.echo("newest denial")
        write_fields(_of_explained(found["why"]))
    for attempt in found["attempts"]:
        click.echo()
        _write_attempt(attempt)
    for decision in found["decisions"]:
        click.echo()
        _write_decision(decision)


def _write_others(others: list[Item]) -> None:
    if others:
        click.echo("beside it")
        _write_reasons(others)


def _of_explained(one: Item) -> Iterator[tuple[str, object]]:
    yield "denied at", one["at"]
    yield "step", one["step"]
    yield "outcome", one["outcome"]
    yield "node", one["node_id"]
    yield "correlation id", one["correlation_id"]
    if one["cause"] is not None:
        yield from _of_cause(one["cause"])
    if one["passed_since"] is not None:
        yield "passed since", one["passed_since"]


def _of_cause(cause: Item) -> Iterator[tuple[str, object]]:
    for name, title in _CAUSE:
        if cause["finding"].get(name) is not None:
            yield title, cause["finding"][name]
    for one in cause["accepted"]:
        yield "accepted", _candidate(one)
    if cause["accepted_more"]:
        yield "accepted", f"and {cause['accepted_more']} more"
    nearest = cause["nearest"]
    if nearest is not None:
        yield "nearest", nearest if isinstance(nearest, str) else _candidate(nearest)
    for event in cause["events"]:
        yield "event log", event
    yield "last passed", _passed(cause["last_passed"])
    if cause["mend"]:
        yield "mend", cause["mend"]


def _candidate(one: Mapping[str, Any]) -> str:
    same = "this very value, " if one["same"] else ""
    note = f": {one['note']}" if one["note"] else ""
    standing = f"{same}{one['standing']}{note}"
    return f"{one['set']} / {one['name']}, {one['place']}: {one['value']} ({standing})"


def _passed(passed: Mapping[str, Any]) -> str:
    if passed["at"] is not None:
        return str(passed["at"])
    if not passed["decisions"]:
        return "never: nothing was decided about this node before"
    return f"not in the {passed['decisions']} decisions before, back to {passed['back_to']}"


def _write_attempt(attempt: Item) -> None:
    named = [("refused", attempt["at"]), ("step", attempt["call"])]
    named += [("code", attempt["code"]), ("correlation id", attempt["correlation_id"])]
    write_fields(named)
    _write_reasons([attempt["reason"]])


def _write_decision(decision: Item) -> None:
    named = [("decided", decision["decided"]), ("step", decision["kind"])]
    named += [("outcome", decision["outcome"]), ("code", decision["code"] or None)]
    named += [("posture", decision["posture"]), ("correlation id", decision["correlation_id"])]
    write_fields(named)
    _write_reasons(decision["reasons"])


def _write_reasons(reasons: object) -> None:
    if not isinstance(reasons, Iterable):
        return
    for reason in reasons:
        if not isinstance(reason, dict):
            click.echo(f"  {printable(reason)}")
            continue
        click.echo(f"  {printable(reason.get('code'))}")
        for name, title in _REASON:
            if reason.get(name) is not None:
                click.echo(f"    {title:<9} {printable(reason[name])}")
