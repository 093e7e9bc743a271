"""Where a layer's policy stands on an OPA server, and the text that is put there.

One server holds many policies, so each is moved below a prefix of its own:

    data.sealward_mounts.r_<digest of the bundle>.p_<digest of instance, scope, layer and kind>

The prefix goes into the package clause and behind every `data` of the text, at the positions that
the embedded engine's parser reports. What the policy knows as `data` is then that prefix and
nothing else: it cannot name another layer, another revision, or anything that an operator keeps on
the same server. Lines stay, columns are told as the author counts them. The digest that is
audited is that of the bundle as it was uploaded.

An instance is one engine in one process: nobody else can have put anything where its policies come
to stand, neither another control plane nor an earlier release of this one.

`readback` proves the result on the server's own reading; here nothing has to be believed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sealward.controlplane.adapters.policy_engine.embedded import NAMES
from sealward.controlplane.domain.policies_bundle import MAX_FILE_BYTES, PolicyModule
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngineError,
)
from sealward.verifier.wire import json

ROOT: Final = "sealward_mounts"
_HOST: Final = "sealward_host"
_DATA: Final = b"data"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE_CHARACTERS: Final = 32  # 128 bits: no two places of one bundle collide

Insertion: TypeAlias = tuple[int, int]  # where in the original, in bytes, and how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """Where one module says its package and `data`: byte offsets into its text, ascending."""

    package: int
    data: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedModule:
    """One module on the server.

    Attributes:
        id: its name there, a path below the mount.
        text: what is put there.
        origin: path in the bundle, or None for what the host adds.
        insertions: what was put into the original.
    """

    id: str
    text: str
    origin: str | None = None
    insertions: tuple[Insertion, ...] = ()

    def column(self, row: int, column: int) -> int:
        """Return the author's column for a row and column, from 1, of the mounted text."""
        lines = self.text.encode().split(b"\n")
        start = sum(len(line) + 1 for line in lines[: row - 1])
        end = start + column - 1
        grown = ours = 0
        for at, size in self.insertions:
            mounted = at + grown
            grown += size
            if start <= mounted < end:
                ours += min(size, end - mounted)
        return column - ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A policy as it stands on the server.

    Attributes:
        name: "r_…/p_…", which the server's answers must carry.
        prefix: the same as a path below `data`.
        modules: what is there, in an order that mostly suits OPA; the host's module is the last.
    """

    name: str
    prefix: tuple[str, ...]
    modules: tuple[MountedModule, ...]

    @property
    def answer_path(self) -> str:
        """Path of the one document that is asked for."""
        return "/".join(("/v1/data", *self.prefix, _HOST, "answer"))


def policy_path(module: MountedModule) -> str:
    """Return the path of a module in OPA's policy API."""
    return f"/v1/policies/{module.id}"


def mount(policy: LayerPolicy, mentions: Mapping[str, Mentions], *, instance: str) -> Mount:
    """Return what to put on a server for `policy`.

    Args:
        policy: with the modules that decide; its tests stay away.
        mentions: of each of these modules, by path.
        instance: a text that no other engine has ever had.

    Raises:
        PolicyEngineError: ERROR, the policy cannot be moved with certainty.
    """
    named = json.canonical([instance, policy.scope, policy.layer, policy.kind])
    place = hashlib.sha256(named).hexdigest()[:_PLACE_CHARACTERS]
    prefix = (ROOT, f"r_{policy.bundle.digest}", f"p_{place}")
    base = "/".join(prefix)
    own = [module for module in policy.bundle.modules if not module.is_test]
    if {module.path for module in own} != set(mentions):
        raise _cannot("the parser knows other modules than the bundle")
    modules = [
        _moved(module, f"{base}/policy/{module.path}", prefix, mentions[module.path])
        for module in own
    ]
    packages = {_package(module.text, mentions[module.path]) for module in own}
    modules += _data_modules(policy.bundle.data, packages, base, prefix)
    name = "/".join(prefix[1:])
    host = MountedModule(id=f"{base}/host.rego", text=_host_module(policy, name, prefix))
    return Mount(name=name, prefix=prefix, modules=(*modules, host))


def _moved(
    module: PolicyModule, name: str, prefix: tuple[str, ...], mentions: Mentions
) -> MountedModule:
    text = module.text.encode()
    dotted = ".".join(prefix).encode()
    before, behind = dotted + b".", b"." + dotted
    parts: list[bytes] = []
    insertions: list[Insertion] = []
    done = 0
    for at, inserted in (
        (mentions.package, before),
        *((offset + len(_DATA), behind) for offset in mentions.data),
    ):
        if not done <= at <= len(text):
            raise _cannot(f"{module.path}: positions are out of order")
        parts += (text[done:at], inserted)
        insertions.append((at, len(inserted)))
        done = at
    for offset in mentions.data:
        if text[offset : offset + len(_DATA)] != _DATA:
            raise _cannot(f"{module.path}: byte {offset} is not `data`")
    parts.append(text[done:])
    return MountedModule(
        id=name,
        text=b"".join(parts).decode(),
        origin=module.path,
        insertions=tuple(insertions),
    )


def _package(text: str, mentions: Mentions) -> tuple[str, ...]:
    line = text.encode()[mentions.package :].partition(b"\n")[0]
    found = re.match(rb"[A-Za-z0-9_.]+", line)
    if found is None:
        raise _cannot("a package clause is not where the parser saw it")
    return tuple(found[0].decode().split("."))


def _data_modules(
    data: bytes, packages: Iterable[tuple[str, ...]], base: str, prefix: tuple[str, ...]
) -> Iterator[MountedModule]:
    """Write the bundle's data.json as rules, so that it is put, read back and removed like them.

    OPA's data API could hold it, but cannot show it again without evaluating the rules around it.
    """
    value = json.decode(data, what="data.json", max_bytes=MAX_FILE_BYTES)
    below = {package[:end] for package in packages for end in range(len(package) + 1)}
    for number, (package, members) in enumerate(_split(value, (), below)):
        lines = [f"package {'.'.join((*prefix, *package))}", ""]
        lines += [f"{name} := {json.canonical(item).decode()}" for name, item in members]  # type: ignore[arg-type]  # a bundle's data has no floats
        yield MountedModule(id=f"{base}/data_{number}.rego", text="\n".join((*lines, "")))


def _split(
    value: json.Value, path: tuple[str, ...], below: set[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], list[tuple[str, json.Value]]]]:
    """Yield (package, members): deeper packages apart, so that rules and data can meet there."""
    members: list[tuple[str, json.Value]] = []
    for name, item in value.items() if isinstance(value, dict) else ():
        if _IDENTIFIER.fullmatch(name) is None:
            raise _cannot(
                f"data.json: {name!r} in {'.'.join(path) or 'data'} is not a name of Rego;"
                " put it one level deeper, below a name"
            )
        if (*path, name) in below and isinstance(item, dict):
            yield from _split(item, (*path, name), below)
        else:
            members.append((name, item))
    if members:
        yield path, members


def _host_module(policy: LayerPolicy, name: str, prefix: tuple[str, ...]) -> str:
    """Return the module that is asked: one answer with its provenance, or what has no value.

    A rehearsal is answered before anything of the policy is evaluated.
    """
    dotted = ".".join(("data", *prefix))
    scope = f"with {dotted}.reference as input.reference with input as input.input"
    names = NAMES[policy.kind]
    members = ", ".join(f'"{n}": {dotted}.{policy.package}.{n}' for n in names)
    listed = ", ".join(f'"{n}"' for n in names)
    lines = [
        f"package {'.'.join((*prefix, _HOST))}",
        "",
        f'answer := {{"mount": "{name}"}} if {{',
        "\tinput.rehearsal",
        f'}} else := {{"mount": "{name}", "answer": x}} if {{',
        f"\tx := {{{members}}} {scope}",
        f'}} else := {{"mount": "{name}", "missing": [n | some n in [{listed}]; not valued[n]]}}',
    ]
    for n in names:
        lines += ["", f'valued contains "{n}" if x := {dotted}.{policy.package}.{n} {scope}']
    return "\n".join((*lines, ""))


def _cannot(why: str) -> PolicyEngineError:
    return PolicyEngineError(EngineFault.ERROR, f"cannot be mounted on OPA: {why}")
