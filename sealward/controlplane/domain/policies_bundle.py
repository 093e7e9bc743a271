"""A policy bundle: immutable content with one digest, and the checks that need no Rego parser.

A bundle is a valid OPA bundle as it stands (https://www.openpolicyagent.org/docs/management-bundles):
`.manifest`, `*.rego`, `data.json`. `samples/*.json` beside them, which OPA ignores, carry inputs
with expected answers. Anything else is refused, so that what was reviewed is all there is.

The digest is SHA-256 over canonical JSON of the content: the same policy has one digest whatever
the order and the spacing of what was uploaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sealward.controlplane.domain.policies import Layer, PolicyKind, package_root
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

MAX_FILES: Final = 64  # ten times the shipped policies
MAX_FILE_BYTES: Final = 256 * 1024  # a policy that needs more is data, and data has its own place
MAX_BUNDLE_BYTES: Final = 1024 * 1024  # bounds what one upload costs a worker
MAX_PATH_CHARACTERS: Final = 100  # what any tar holds, so a bundle can be packed for OPA

_MANIFEST: Final = ".manifest"
_DATA: Final = "data.json"
_TEST_SUFFIX: Final = "_test.rego"
_PATH: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_SAMPLE: Final = re.compile(r"samples/[a-z0-9][a-z0-9_-]*\.json")
# Rego wants the package clause first; comments and blank lines may precede it. Only the plain
# dotted spelling is accepted, so that this pattern and the engine cannot disagree.
_PACKAGE: Final = re.compile(
    r"(?:[ \t]*(?:#[^\r\n]*)?\r?\n)*package[ \t]+"
    r"([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"[ \t]*(?:#[^\r\n]*)?(?:\r?\n|$)"
)


class InvalidBundle(Exception):
    """The content is not a bundle that this place may hold.

    Attributes:
        path: file concerned, or None for the bundle as a whole.
        detail: what is wrong and what to do, one clause.
    """

    def __init__(self, path: str | None, detail: str) -> None:
        super().__init__(f"{path}: {detail}" if path else detail)
        self.path: Final = path
        self.detail: Final = detail


@dataclass(frozen=True, slots=True, order=True)
class PolicyModule:
    """One Rego file: bundle-relative path and text."""

    path: str
    text: str

    @property
    def is_test(self) -> bool:
        """Whether the file is evaluated only by checks, never by a decision."""
        return self.path.endswith(_TEST_SUFFIX)


@dataclass(frozen=True, slots=True, order=True)
class PolicySample:
    """One input with its expected answer, as canonical JSON."""

    name: str
    document: bytes
    reference: bytes
    expected: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """The content of one revision. Build it with `bundle_from_files`, which checks.

    Attributes:
        modules: Rego files by path, tests included.
        data: canonical JSON object that the modules see as `data`, without `data.reference`.
        roots: the manifest's roots, for example ("sealward/release",).
        samples: inputs with expected answers, by name.
        digest: SHA-256 of the canonical content, lower-case hex.
    """

    modules: tuple[PolicyModule, ...]
    data: bytes
    roots: tuple[str, ...]
    samples: tuple[PolicySample, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        files: dict[str, json.Canonical] = {
            path: text.decode() for path, text in files_of(self).items()
        }
        object.__setattr__(self, "digest", hashlib.sha256(json.canonical(files)).hexdigest())

    def refuse_outside(self, kind: PolicyKind, layer: Layer) -> None:
        """Refuse a bundle that reaches outside the package root of its kind and layer.

        Raises:
            InvalidBundle: a root, package or data path elsewhere, or no policy at all.
        """
        root = package_root(kind, layer)
        as_path = root.replace(".", "/")
        if self.roots != (as_path,):
            raise InvalidBundle(_MANIFEST, f'roots must be exactly ["{as_path}"]')
        packages = {module: _package_of(module) for module in self.modules}
        for module, package in packages.items():
            if package != root and not package.startswith(root + "."):
                raise InvalidBundle(
                    module.path, f"package {package} is outside {root}, this layer's root"
                )
        if root not in {name for module, name in packages.items() if not module.is_test}:
            raise InvalidBundle(None, f"no file defines package {root}")
        _refuse_data_outside(self.data, root)


def bundle_from_files(files: Mapping[str, bytes]) -> PolicyBundle:
    """Build a bundle from bundle-relative paths and contents.

    Raises:
        InvalidBundle: unknown or badly named files, a budget exceeded, text that is not UTF-8,
            JSON that is not strict, or no manifest.
    """
    _check_budgets(files)
    manifest = files.get(_MANIFEST)
    if manifest is None:
        raise InvalidBundle(_MANIFEST, "missing; an OPA bundle states its roots there")
    modules: list[PolicyModule] = []
    samples: list[PolicySample] = []
    for path, content in sorted(files.items()):
        if path.endswith(".rego"):
            modules.append(PolicyModule(path, _text(path, content)))
        elif _SAMPLE.fullmatch(path):
            samples.append(_sample(path, content))
        elif path not in (_MANIFEST, _DATA):
            raise InvalidBundle(path, "only .manifest, *.rego, data.json and samples/*.json belong")
    return PolicyBundle(
        modules=tuple(modules),
        data=json.canonical(_object(_DATA, files.get(_DATA, b"{}"))),
        roots=_roots(manifest),
        samples=tuple(samples),
    )


def files_of(bundle: PolicyBundle) -> dict[str, bytes]:
    """Return the canonical files of `bundle`; `bundle_from_files` gives the same bundle back."""
    manifest: dict[str, json.Canonical] = {"rego_version": 1, "roots": list(bundle.roots)}
    files = {_MANIFEST: json.canonical(manifest), _DATA: bundle.data}
    files.update((module.path, module.text.encode()) for module in bundle.modules)
    files.update((f"samples/{s.name}.json", _sample_bytes(s)) for s in bundle.samples)
    return dict(sorted(files.items()))


def _check_budgets(files: Mapping[str, bytes]) -> None:
    if len(files) > MAX_FILES:
        raise InvalidBundle(None, f"{len(files)} files, at most {MAX_FILES} are read")
    for path, content in files.items():
        refuse_path(path)
        if len(content) > MAX_FILE_BYTES:
            raise InvalidBundle(path, f"{len(content)} bytes, at most {MAX_FILE_BYTES} are read")
    total = sum(len(content) for content in files.values())
    if total > MAX_BUNDLE_BYTES:
        raise InvalidBundle(None, f"{total} bytes, at most {MAX_BUNDLE_BYTES} are read")


def refuse_path(path: str) -> None:
    """Refuse a name that is absolute, climbs, hides, or is too long.

    Raises:
        InvalidBundle: anything but plain relative segments.
    """
    if len(path) > MAX_PATH_CHARACTERS or not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise InvalidBundle(ascii(path), "not a plain relative path of at most 100 characters")


def _text(path: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidBundle(path, "not UTF-8") from None
    if "\0" in text:
        raise InvalidBundle(path, "holds a NUL character")
    return text


def _object(path: str, content: bytes) -> dict[str, json.Canonical]:
    try:
        value = json.decode(content, what=path, max_bytes=MAX_FILE_BYTES)
    except MalformedEvidence as error:
        raise InvalidBundle(path, error.detail) from None
    if not isinstance(value, dict):
        raise InvalidBundle(path, "must be a JSON object")
    return _exact(path, value)


def _exact(path: str, value: dict[str, json.Value]) -> dict[str, json.Canonical]:
    exact: dict[str, json.Canonical] = {}
    try:
        for name, item in value.items():
            # The canonical writer is the judge; what it accepts has the narrower type.
            json.canonical(item)  # type: ignore[arg-type]  # floats raise TypeError here
            exact[name] = item  # type: ignore[assignment]  # checked on the line above
    except (TypeError, ValueError) as error:
        raise InvalidBundle(path, f"{error}; write such numbers as text") from None
    return exact


def _roots(manifest: bytes) -> tuple[str, ...]:
    value = _object(_MANIFEST, manifest)
    unknown = set(value) - {"revision", "roots", "rego_version", "metadata"}
    if unknown:
        raise InvalidBundle(_MANIFEST, f"unknown member {min(unknown)}")
    version = value.get("rego_version", 1)
    if version != 1 or isinstance(version, bool):  # true equals 1 in Python
        raise InvalidBundle(_MANIFEST, "rego_version must be 1")
    roots = value.get("roots")
    if not isinstance(roots, list) or not roots:
        raise InvalidBundle(_MANIFEST, "roots must be a list of at least one path")
    names = [root for root in roots if isinstance(root, str)]
    if len(names) != len(roots) or len(set(names)) != len(names):
        raise InvalidBundle(_MANIFEST, "roots must be different texts")
    return tuple(sorted(names))


def _sample(path: str, content: bytes) -> PolicySample:
    value = _object(path, content)
    if set(value) != {"input", "reference", "expected"}:
        raise InvalidBundle(path, "a sample has exactly input, reference and expected")
    return PolicySample(
        path.removeprefix("samples/").removesuffix(".json"),
        json.canonical(value["input"]),
        json.canonical(value["reference"]),
        json.canonical(value["expected"]),
    )


def _sample_bytes(sample: PolicySample) -> bytes:
    parts = {"expected": sample.expected, "input": sample.document, "reference": sample.reference}
    return b"{" + b",".join(b'"%s":%s' % (k.encode(), v) for k, v in parts.items()) + b"}"


def _package_of(module: PolicyModule) -> str:
    match = _PACKAGE.match(module.text)
    if match is None:
        raise InvalidBundle(
            module.path,
            "must begin with a package clause in dots, such as package sealward.release",
        )
    return match.group(1)


def _refuse_data_outside(data: bytes, root: str) -> None:
    value = json.decode(data, what=_DATA, max_bytes=MAX_FILE_BYTES)
    for name in root.split("."):
        if not isinstance(value, dict) or _others(value, name):
            raise InvalidBundle(_DATA, f"data outside {root}, this layer's root")
        if name not in value:
            return
        value = value[name]


def _others(value: Mapping[str, object], name: str) -> set[str]:
    return set(value) - {name}
