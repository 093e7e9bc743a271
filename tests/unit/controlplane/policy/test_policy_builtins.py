"""Built-ins outside the allow-list are out of reach, whichever way a policy spells them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import regorus

from sealward.controlplane.adapters.policy_engine.builtins import REFUSED
from sealward.controlplane.adapters.policy_engine.check import check
from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins
from sealward.controlplane.domain.policies_bundle import PolicySample
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngineError,
)

PolicyOf = Callable[..., LayerPolicy]
REST = "\nreasons := set()\nobligations := {}\n"
EMPTY = PolicySample("empty", b"{}", b"{}", b"{}")

# Every built-in of OPA 1.x and of regorus that this build's allow-list does not name: what the next
# version of the engine may bring.
_ELSEWHERE = """
all and any array.flatten assign bits.lsh cast_array cast_boolean cast_null cast_object cast_set
cast_string crypto.hmac.equal crypto.hmac.md5 crypto.hmac.sha1 crypto.hmac.sha256
crypto.hmac.sha512 crypto.md5 crypto.parse_private_keys crypto.sha1 crypto.sha256
crypto.x509.parse_and_verify_certificates crypto.x509.parse_and_verify_certificates_with_options
crypto.x509.parse_certificate_request crypto.x509.parse_certificates crypto.x509.parse_keypair
crypto.x509.parse_rsa_private_key div eq equal glob.quote_meta graph.reachable
graph.reachable_paths graphql.is_valid graphql.parse graphql.parse_and_verify graphql.parse_query
graphql.parse_schema graphql.schema_is_valid gt gte http.send internal.member_2 internal.member_3
internal.print internal.template_string internal.test_case io.jwt.decode io.jwt.decode_verify
io.jwt.encode_sign io.jwt.encode_sign_raw io.jwt.verify_eddsa io.jwt.verify_es256
io.jwt.verify_es384 io.jwt.verify_es512 io.jwt.verify_hs256 io.jwt.verify_hs384
io.jwt.verify_hs512 io.jwt.verify_ps256 io.jwt.verify_ps384 io.jwt.verify_ps512
io.jwt.verify_rs256 io.jwt.verify_rs384 io.jwt.verify_rs512 json.marshal_with_options
json.match_schema json.patch json.verify_schema lt lte minus mul neq net.cidr_contains_matches
net.cidr_expand net.cidr_intersects net.cidr_merge net.cidr_overlap net.lookup_ip_addr
numbers.range_step opa.runtime or plus print providers.aws.sign_req rand.intn re_match
regex.find_all_string_submatch_n regex.find_n regex.globs_match regex.template_match
rego.metadata.chain rego.metadata.rule rego.parse_module rem set_diff strings.render_template
test.sleep time.format time.now_ns time.parse_ns trace units.parse units.parse_bytes
urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object uri.is_valid uri.parse
uuid.parse uuid.rfc4122 yaml.is_valid yaml.marshal yaml.unmarshal
__builtin_sets.intersection __builtin_sets.union
azure.policy.if azure.policy.logic_all azure.policy.logic_any azure.policy.get_parameter
azure.policy.resolve_field azure.policy.fn.utc_now azure.policy.fn.date_time_add
"""


def engine_has(name: str) -> bool:
    """Whether the engine as it comes, without our extensions, knows a built-in of this name."""
    engine = regorus.Engine()
    engine.add_policy(
        "a.rego", f"package a\nimport rego.v1\nx := {name}(1, 1, 1, 1, 1, 1, 1, 1, 1)"
    )
    try:
        engine.eval_rule_as_json("data.a.x")
    except RuntimeError as error:
        return "could not find function" not in str(error)
    return True


def test_the_table_holds_what_the_engine_has_beside_the_allow_list():
    assert engine_has("count")
    assert not engine_has("unheard.of")
    assert {name for name in _ELSEWHERE.split() if engine_has(name)} == REFUSED.keys()
    assert {name for name in allowed_builtins() if not engine_has(name)} == set()
    assert REFUSED.keys() & allowed_builtins() == set()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_worker_fails_on_it_even_unchecked(
    engine: EmbeddedEngine, policy_of: PolicyOf, name: str
):
    arguments = ", ".join(['"1"'] * REFUSED[name])
    policy = policy_of(f"allow if {{ x := {name}({arguments}); x == x }}{REST}")
    with pytest.raises(PolicyEngineError) as caught:
        engine.evaluate(policy, b"{}")
    engine.retire(policy)
    assert caught.value.fault is EngineFault.ERROR
    assert f"{name} is not available to policies" in caught.value.detail


@pytest.mark.parametrize("name", [n for n in sorted(REFUSED) if "." in n])
def test_a_function_in_a_test_lends_its_name_to_no_decision(
    engine: EmbeddedEngine, roomy: EngineSettings, policy_of: PolicyOf, name: str
):
    names = ["a", "b", "c", "d"][: REFUSED[name]]
    called = ", ".join(["1"] * REFUSED[name])
    test = f"package sealward.release\nimport rego.v1\n{name}({', '.join(names)}) := true\n"
    policy = policy_of(
        f"allow := {name}({called}){REST}", files={"policy_test.rego": test.encode()}
    )
    found = check(
        policy, builtins=allowed_builtins(), samples=[EMPTY], engine=engine, settings=roomy
    )
    assert {(one.code, one.file) for one in found} == {("call_not_allowed", "policy.rego")}


@pytest.mark.parametrize(
    ("body", "files"),
    [
        ("count(x) := 7\nallow := count([1]) == 7", {}),
        ("yaml.unmarshal(x) := 7\nallow := yaml.unmarshal(1) == 7", {}),
        ("default uuid.parse(x) := 7\nallow := uuid.parse(1) == 7", {}),
        ("allow := true\nsum := 3", {}),
        ("allow := true", {"more.rego": b"package sealward.release.json\npatch(x) := 1\n"}),
        ("allow := true", {"more.rego": b"package sealward.release.a\ntime.format(x) := 1\n"}),
        (
            "allow := true",
            {"p_test.rego": b"package sealward.release.p_test\njson.patch(a, b) := true\n"},
        ),
    ],
)
def test_no_rule_may_have_the_name_of_a_builtin(
    engine: EmbeddedEngine,
    roomy: EngineSettings,
    policy_of: PolicyOf,
    body: str,
    files: dict[str, bytes],
):
    policy = policy_of(body + REST, files=files)
    found = check(
        policy, builtins=allowed_builtins(), samples=[EMPTY], engine=engine, settings=roomy
    )
    assert {one.code for one in found} == {"builtin_shadowed"}
