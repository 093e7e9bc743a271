"""A policy on an OPA server stands below a prefix of its own, and means what it meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sealward.controlplane.adapters.policy_engine.opa.mentions import find_mentions
from sealward.controlplane.adapters.policy_engine.opa.mount import Mentions, Mount, mount
from sealward.controlplane.adapters.policy_engine.process import WorkerSettings
from sealward.controlplane.adapters.policy_engine.shipped import shipped_policy
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policy_engine import LayerPolicy, PolicyEngineError

PolicyOf = Callable[..., LayerPolicy]
REST = "\nreasons := set()\nobligations := {}\n"


def mounted(policy: LayerPolicy, instance: str = "one") -> Mount:
    return mount(policy, find_mentions(policy, WorkerSettings(), 5), instance=instance)


def text(made: Mount, name: str = "policy.rego") -> str:
    return next(module.text for module in made.modules if module.origin == name)


def test_only_the_package_and_the_data_document_are_moved(policy_of: PolicyOf) -> None:
    body = (
        'allow if { "data" in {"data", `data`}; x := {"data": 1}; x.data == 1; metadata\n'
        '\tdata["reference"].é == data.reference.data.data } # data stays here é data\n'
        "metadata := data.sealward.release.reasons\nr := data_1\ndata_1 := 1\n" + REST
    ).replace(".é", '["é"]')
    made = mounted(policy_of(body))
    prefix = ".".join(made.prefix)
    expected = (
        body.replace('\tdata["ref', f'\tdata.{prefix}["ref')
        .replace("== data.ref", f"== data.{prefix}.ref")
        .replace("metadata := data.", f"metadata := data.{prefix}.")
    )
    assert text(made) == f"package {prefix}.sealward.release\n\nimport rego.v1\n{expected}"


def test_imports_keep_their_short_names(policy_of: PolicyOf) -> None:
    helper = b"package sealward.release.helper\n\nimport rego.v1\n\nyes := true\n"
    body = (
        "import data.sealward.release.helper\nimport data.sealward.release.helper as other\n"
        "allow if { helper.yes; other.yes }" + REST
    )
    made = mounted(policy_of(body, files={"helper.rego": helper}))
    prefix = ".".join(made.prefix)
    assert f"import data.{prefix}.sealward.release.helper as other\n" in text(made)
    assert f"import data.{prefix}.sealward.release.helper\n" in text(made)
    assert text(made, "helper.rego").startswith(f"package {prefix}.sealward.release.helper\n")


def test_tests_are_not_mounted() -> None:
    made = mounted(shipped_policy(PolicyKind.RELEASE, "tenant/x"))
    assert made.modules[-1].id.endswith("/host.rego")
    origins = {module.origin for module in made.modules} - {None}
    assert origins
    assert not any(str(origin).endswith("_test.rego") for origin in origins)


@pytest.mark.parametrize("kind", PolicyKind)
def test_a_shipped_policy_without_its_prefix_is_the_shipped_policy(kind: PolicyKind) -> None:
    policy = shipped_policy(kind, "tenant/x")
    made = mounted(policy)
    prefix = ".".join(made.prefix)
    for module in policy.bundle.modules:
        if not module.is_test:
            moved = text(made, module.path)
            assert f"package {prefix}.sealward.{kind}" in moved
            bare = moved.replace(f"data.{prefix}", "data").replace(f"package {prefix}.", "package ")
            assert bare == module.text


def test_instance_scope_layer_kind_and_revision_have_mounts_of_their_own(
    policy_of: PolicyOf,
) -> None:
    body = "allow := true" + REST
    made = [
        mounted(policy)
        for policy in (
            policy_of(body),
            policy_of(body, scope="tenant/other"),
            policy_of(body, layer=Layer.TEAM),
            policy_of(body + "\n"),
            policy_of("answer := 1\nlabels := 1\nreasons := 1\n", kind=PolicyKind.ENROLLMENT),
        )
    ]
    made.append(mounted(policy_of(body), "another"))
    assert len({one.name for one in made}) == len({one.prefix for one in made}) == len(made)
    ids = [module.id for one in made for module in one.modules]
    assert len(set(ids)) == len(ids)
    for one in made:
        assert all(module.id.startswith("/".join(one.prefix) + "/") for module in one.modules)


def test_the_mount_names_the_digest_of_the_bundle_as_it_was_uploaded(policy_of: PolicyOf) -> None:
    policy = policy_of("allow := true" + REST)
    made = mounted(policy)
    assert made.prefix[1] == f"r_{policy.bundle.digest}"
    assert made.name == "/".join(made.prefix[1:])
    assert mounted(policy) == made


def test_data_of_the_bundle_becomes_rules_where_the_policy_looks(policy_of: PolicyOf) -> None:
    helper = b"package sealward.release.limits.more\n\nimport rego.v1\n\nx := 1\n"
    data = b'{"sealward":{"release":{"limits":{"more":{"y":[1,{"k-1":null}]},"ttl":60},"on":true}}}'
    made = mounted(
        policy_of("allow := true" + REST, files={"data.json": data, "helper.rego": helper})
    )
    prefix = ".".join(made.prefix)
    added = [module.text for module in made.modules if module.origin is None][:-1]
    assert sorted(added) == sorted(
        (
            f'package {prefix}.sealward.release.limits.more\n\ny := [1,{{"k-1":null}}]\n',
            f"package {prefix}.sealward.release.limits\n\nttl := 60\n",
            f"package {prefix}.sealward.release\n\non := true\n",
        )
    )


@pytest.mark.parametrize("name", ["k-1", "", "1", "a b", "\u00e9", 'x\\"y'])
def test_data_that_no_rule_can_be_named_like_is_refused(policy_of: PolicyOf, name: str) -> None:
    data = f'{{"sealward":{{"release":{{"{name}":1}}}}}}'.encode()
    with pytest.raises(PolicyEngineError, match="is not a name of Rego"):
        mounted(policy_of("allow := true" + REST, files={"data.json": data}))


@pytest.mark.parametrize(
    "mentions",
    [
        {},
        {"other.rego": Mentions(package=8, data=())},
        {"policy.rego": Mentions(package=8, data=(3,))},
        {"policy.rego": Mentions(package=8, data=(9,))},
        {"policy.rego": Mentions(package=8, data=(10**9,))},
        {"policy.rego": Mentions(package=10**9, data=())},
        {"policy.rego": Mentions(package=7, data=())},
    ],
)
def test_positions_that_cannot_be_right_are_refused(
    policy_of: PolicyOf, mentions: dict[str, Mentions]
) -> None:
    with pytest.raises(PolicyEngineError, match="cannot be mounted"):
        mount(policy_of("allow := true" + REST), mentions, instance="one")


@pytest.mark.parametrize(
    ("row", "mounted_column", "column"), [(1, 9, 9), (4, 1, 1), (4, 10, 10), (5, 2, 2)]
)
def test_columns_before_what_was_inserted_stay(
    policy_of: PolicyOf, row: int, mounted_column: int, column: int
) -> None:
    made = mounted(policy_of("allow if { data.reference.a\n\tdata.reference.b }" + REST))
    module = made.modules[0]
    assert module.column(row, mounted_column) == column


def test_columns_are_told_as_the_author_counts_them(policy_of: PolicyOf) -> None:
    body = 'é := 1\nallow if { "é" != data.reference.a; data.reference.b == data.reference.c }'
    policy = policy_of(body.replace("é := 1\n", "e := 1\n") + REST)
    made = mounted(policy)
    module = made.modules[0]
    original = policy.bundle.modules[0].text.encode().split(b"\n")
    changed = module.text.encode().split(b"\n")
    assert len(original) == len(changed)
    for row, (before, after) in enumerate(zip(original, changed, strict=True), start=1):
        for word in (b"allow", b"reference.a", b"reference.b", b"reference.c", b"sealward.release"):
            at = before.find(word)
            if at >= 0:
                where = after.find(word) + 1
                assert module.column(row, where) == at + 1
