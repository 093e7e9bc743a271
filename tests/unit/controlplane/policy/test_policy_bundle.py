"""Bundles: one digest per content, and nothing read that was not reviewed."""

from __future__ import annotations

import pytest

from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import (
    MAX_FILE_BYTES,
    InvalidBundle,
    bundle_from_files,
    files_of,
)

FILES = {
    ".manifest": b'{"roots": ["sealward/release"], "rego_version": 1}',
    "policy.rego": b"# why\n\npackage sealward.release\n\nallow := false\n",
    "policy_test.rego": b"package sealward.release.policy_test\n",
    "data.json": b'{"sealward": {"release": {"regions": ["eu"]}}}',
    "samples/one.json": b'{"expected": {}, "input": {}, "reference": {}}',
}


def test_a_bundle_is_its_files_and_has_one_digest_however_it_is_written():
    bundle = bundle_from_files(FILES)
    again = bundle_from_files(files_of(bundle))
    assert again == bundle
    spaced = FILES | {".manifest": b'{"rego_version":1,\n "roots":["sealward/release"]}'}
    assert bundle_from_files(spaced).digest == bundle.digest
    assert len(bundle.digest) == 64


@pytest.mark.parametrize("path", [path for path in FILES if path != ".manifest"])
def test_every_file_is_part_of_the_digest(path: str):
    without = {name: content for name, content in FILES.items() if name != path}
    assert bundle_from_files(without).digest != bundle_from_files(FILES).digest


@pytest.mark.parametrize(
    "path",
    ["../policy.rego", "a/../b.rego", "//policy.rego", "a//b.rego", "a b.rego", "x\n.rego", "..",
     "a" * 101 + ".rego", "ä.rego"],
)  # fmt: skip
def test_paths_that_are_not_plain_are_refused(path: str):
    with pytest.raises(InvalidBundle):
        bundle_from_files(FILES | {path: b""})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({".manifest": b'{"roots": []}'}, "roots"),
        ({".manifest": b'{"roots": ["a", "a"]}'}, "different"),
        ({".manifest": b'{"roots": ["a"], "wasm": []}'}, "unknown member wasm"),
        ({".manifest": b'{"roots": ["a"], "rego_version": 0}'}, "rego_version"),
        ({".manifest": b'{"roots": ["a"], "roots": ["b"]}'}, "duplicate"),
        ({"data.json": b"[]"}, "object"),
        ({"data.json": b'{"ratio": 0.5}'}, "as text"),
        ({"data.yaml": b"a: 1"}, "belong"),
        ({"policy.wasm": b""}, "belong"),
        ({"samples/two.json": b'{"input": {}}'}, "exactly"),
        ({"policy.rego": b"\xff"}, "UTF-8"),
        ({"policy.rego": b"a" * (MAX_FILE_BYTES + 1)}, "bytes"),
        ({f"p{at}.rego": b"" for at in range(64)}, "files"),
    ],
)
def test_content_that_is_no_bundle_is_refused_with_the_file_and_the_rule(
    change: dict[str, bytes], says: str
):
    with pytest.raises(InvalidBundle, match=says):
        bundle_from_files(FILES | change)


def test_a_bundle_needs_a_manifest():
    with pytest.raises(InvalidBundle, match="manifest"):
        bundle_from_files({"policy.rego": b""})


@pytest.mark.parametrize("layer", Layer)
@pytest.mark.parametrize("kind", PolicyKind)
def test_each_kind_and_layer_has_its_own_root(kind: PolicyKind, layer: Layer):
    bundle = bundle_from_files(FILES)
    if (kind, layer) == (PolicyKind.RELEASE, Layer.ORGANISATION):
        bundle.refuse_outside(kind, layer)
    else:
        with pytest.raises(InvalidBundle, match="roots"):
            bundle.refuse_outside(kind, layer)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"guard.rego": b"package sealward.appraisal\n"}, "outside"),
        ({"guard.rego": b"package sealward.releases\n"}, "outside"),
        ({"guard.rego": b"package sealward\n"}, "outside"),
        ({"guard.rego": b"package reference\n"}, "outside"),
        ({"guard.rego": b"package sealward_host\n"}, "outside"),
        ({"guard.rego": b'package sealward["release"]\n'}, "package clause"),
        ({"guard.rego": b"import rego.v1\npackage sealward.release\n"}, "package clause"),
        ({"guard.rego": b"package sealward.release; x := 1\n"}, "package clause"),
        ({"guard.rego": b""}, "package clause"),
        ({"data.json": b'{"reference": {}}'}, "data outside"),
        ({"data.json": b'{"sealward": {"release": {}, "appraisal": {}}}'}, "data outside"),
        ({"data.json": b'{"sealward": 1}'}, "data outside"),
        ({"policy.rego": b"package sealward.release.inner\n"}, "no file defines"),
    ],
)
def test_a_bundle_cannot_reach_outside_its_root(change: dict[str, bytes], says: str):
    bundle = bundle_from_files(FILES | change)
    with pytest.raises(InvalidBundle, match=says):
        bundle.refuse_outside(PolicyKind.RELEASE, Layer.ORGANISATION)
