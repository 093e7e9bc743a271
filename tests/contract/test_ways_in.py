"""Every way into an installation is known, and whether trust can come in by it.

The tables below name each way in which something from outside reaches an installation. The program
is walked for them: options, settings, routes, messages, environment. Each either carries no trust,
and the table says why, or is tried with minted evidence by the test that it names, in
tests/scenarios/test_no_path_to_development.py (F29). A new option, route or field fails here until
somebody has said which of the two it is.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from fakes.minted_kinds import MINTED

import sealward
from sealward.controlplane.api.app import create_app
from sealward.controlplane.api.trust_anchors import AnchorQuery
from sealward.controlplane.cli.main import main
from sealward.controlplane.cli.serve import serve
from sealward.controlplane.cli.trust_anchor import add as add_anchor
from sealward.controlplane.cli.verify import verify
from sealward.controlplane.config import Settings
from sealward.enclave_agent import cli as agent_cli
from sealward.enclave_agent.config import AgentSettings
from sealward.protos import agent_pb2
from sealward.protos.trust import TrustConfiguration
from sealward.verifier import registry
from sealward.verifier.rats import evidence as media_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sealward.controlplane.services.admin import AdminServices

TRIALS = Path(__file__).parents[1] / "scenarios" / "test_no_path_to_development.py"
SOURCE = Path(sealward.__file__).parent
COPIED = "test_a_data_folder_of_a_development_installation_serves_no_production"
FLAGS = "test_no_option_of_serve_brings_a_root_into_production"
ENDORSED = "test_a_folder_of_endorsements_completes_chains_and_ends_none"
EVIDENCE = "test_minted_evidence_is_refused"
ANCHOR = "test_a_development_root_is_no_anchor_of_tpms_in_production"
SOFTWARE_TPM = "test_the_ca_of_a_software_tpm_is_no_anchor_in_production"
KINDS = "test_minted_evidence_of_other_kinds_is_refused"
MISNAMED = "test_evidence_by_another_name_is_refused"
COLLATERAL = "test_collateral_under_a_development_root_is_not_taken"
VERIFY = "test_verify_trusts_only_what_it_is_told_and_says_so"
AGENT_TRUST = "test_a_trust_configuration_cannot_be_half_development"
RIGHTS = "an installation that did all of this is what minted evidence is refused by"

# --- what there is: every way in, and what is said of it -----------------------------------------

SERVE = {
    "data": COPIED,
    "trust_domain": FLAGS,
    "development": FLAGS,
    "development_roots": FLAGS,
    "development_listen_anywhere": FLAGS,
    "endorsements": ENDORSED,
    "collateral_config": "whom collateral is fetched from; it is signed under pinned roots",
    "rest": "an address to listen on",
    "enrollment": "an address to listen on",
    "agents": "an address to listen on",
    "names": "names in the server's own certificate",
    "policy_engine": "decides on claims, after the root was found: see `welcoming`",
    "opa_url": "where the policy engine is",
    "opa_ca": "authenticates the policy engine, and no evidence",
    "opa_certificate": "as above",
    "opa_key": "as above",
    "as_json": "form of the log",
    "log_level": "what is logged",
}
ONLY_OPTIONS = {"as_json", "log_level", "development_listen_anywhere"}
OTHER_NAMES = {"collateral_config": "collateral"}  # an option -> its field among the settings
ENGINE = {"policy_engine", "opa_url", "opa_ca", "opa_certificate", "opa_key"}  # make up `opa`
SETTINGS = {
    **{OTHER_NAMES.get(name, name): SERVE[name] for name in SERVE.keys() - ONLY_OPTIONS - ENGINE},
    "opa": SERVE["policy_engine"],
    "tenant": "a name",
    "decision_threads": "a number",
    "policy_deadline_s": "a number",
}
VERIFY_OPTIONS = {
    "files": VERIFY,
    "roles": "names what a file is, never whether it is trusted",
    "ek_roots": VERIFY,
    "development_roots": VERIFY,
    "at": "an instant",
    "report_data": "a comparison",
    "as_json": "form of the answer",
}
LOCAL_COMMANDS = {
    "sealward serve": FLAGS,
    "sealward verify": VERIFY,
    "sealward audit verify": "checks a log under a key that it is given; reads no evidence",
    "sealward model creator-keygen": "makes a key that signs models",
    "sealward model inspect": "reads a sealed file",
    "sealward model rewrap": "wraps a content key for another workload's key",
    "sealward model seal": "encrypts a model",
    "sealward model verify": "checks a creator's signature",
    "sealward reference files": "writes a document; importing it takes rights",
    "sealward reference pcr": "writes a document; importing it takes rights",
    "sealward-agent run": AGENT_TRUST,
    "sealward-agent probe": "prints what a machine can prove",
    "sealward-agent status": "asks a running agent",
}
AGENT_SETTINGS = {
    "enrollment": "an address; who answers there must hold a pinned root",
    "agent": "as above",
    "trust_file": AGENT_TRUST,
    "attester": EVIDENCE,
    "attester_table": EVIDENCE,
    "workloads": "names",
    "models": "sealed files, which open under a leased key only",
    "listen": "an address, and the inference server's own certificate",
    "join_token_file": EVIDENCE,
    "result_audience": "for whom results about the node are asked",
    "log_level": "what is logged",
    "log_json": "form of the log",
}
TRUST_FIELDS = {
    **dict.fromkeys(("trust_domain", "development"), AGENT_TRUST),
    **dict.fromkeys(
        ("tenant", "server_roots", "terms_keys", "log_keys", "witness_keys"),
        "pins of the control plane; evidence is verified there, under its own roots",
    ),
}
WRITES = {
    "post /v1/collateral": COLLATERAL,
    "post /v1/collateral/forecast/proposed": COLLATERAL,
    "post /v1/trust-anchors": ANCHOR,
    "post /v1/trust-anchors/{fingerprint}/remove": "takes trust away",
    "post /v1/reference-sets": RIGHTS,
    "post /v1/reference-sets/{name}/activate": RIGHTS,
    "post /v1/reference-sets/{name}/revoke": "takes values away",
    "post /v1/reference-sets/{name}/withdrawals": "takes a value away",
    "post /v1/reference-sets/{name}/reinstatements": RIGHTS,
    "put /v1/reference-sets/{name}/not-after": "a date",
    "put /v1/platforms/{platform_id}": RIGHTS,
    "post /v1/policies": RIGHTS,
    "post /v1/activations": RIGHTS,
    "post /v1/workloads": RIGHTS,
    "post /v1/workloads/{workload}/models": RIGHTS,
    "post /v1/join-tokens": EVIDENCE,
    **dict.fromkeys(
        (
            f"post /v1/nodes/{{node_id}}/{act}"
            for act in ("admit", "reject", "retire", "quarantine", "release")
        ),
        "of nodes whose evidence was verified: none is there to act on",
    ),
    **dict.fromkeys(
        ("post /v1/bootstrap", "post /v1/principals", "post /v1/principals/{principal_id}/tokens"),
        "makes administrators, who can do what is tried here",
    ),
    "post /v1/principals/{principal_id}/disable": "takes rights away",
    "post /v1/tokens/{token_id}/revoke": "takes rights away",
    "post /v1/client-tokens": "authenticates callers of inference",
    "post /v1/nodes/{node_id}/results": "says what was found of a node, a development root too",
    "post /v1/result-keys/rotate": "a key that signs results",
    "post /v1/workloads/{name}/creators": "a key that signs models",
    "post /v1/workloads/{name}/creators/{key_id}/remove": "takes a key away",
    "post /v1/workloads/{workload}/models/{name}/versions/{version}/withdraw": "takes away",
}
ANCHOR_WORDS = {
    "kind": "cca-key, psa-key: no root; the administrator vouches for one instance by its own key",
    "instance_id": "the instance that he vouches for",
    "implementation_id": "narrows that",
    "name": "a name",
    "development": ANCHOR,
}
MESSAGES = {
    "EnrollRequest": {"evidence": EVIDENCE, "join_token": EVIDENCE},
    "AttestRequest": {"evidence": EVIDENCE},
    "CredentialRequest": {"ek_certificate": SOFTWARE_TPM},
}
NO_CERTIFICATE = {
    *("protocol_version", "purpose", "ticket", "tls_spki", "binding", "proof", "agent"),
    *("credential_proof", "ak_public", "ek_public", "workloads", "runtime_log", "result"),
}
MEDIA_TYPES = {
    "SNP_EVIDENCE": EVIDENCE,
    "TPM_EVIDENCE": SOFTWARE_TPM,
    **dict.fromkeys(
        (
            *("TDX_EVIDENCE", "SGX_EVIDENCE", "NITRO_EVIDENCE", "AZURE_EVIDENCE"),
            *("GOOGLE_EVIDENCE", "NVIDIA_EVIDENCE", "HYGON_EVIDENCE"),
            # Of these each instance's key would be the tenant's own anchor: there is none.
            *("CCA_EVIDENCE", "PSA_EVIDENCE"),
        ),
        KINDS,
    ),
}
ANYTHING_ELSE = MISNAMED  # a media type that stands nowhere
ENVIRONMENT = {
    "SEALWARD_SERVER": "where a remote command finds the control plane",
    "SEALWARD_CA": "authenticates the control plane to a remote command",
    "SEALWARD_CREDENTIALS": "a remote command's token",
    "XDG_CONFIG_HOME": "where that token is kept",
    "TELEMETRY_SWITCH": "keeps a library of the inference worker silent",
}


# --- the tables name what there is, and nothing that is not --------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command of both programs, by its words."""

    def walk(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield words, command
            return
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, f"{words} {name}")

    yield from walk(main, "sealward")
    yield from walk(agent_cli.main, "sealward-agent")


def options(command: click.Command) -> set[str]:
    return {str(option.name) for option in command.params}


def remote(command: click.Command) -> bool:
    """Whether a command only speaks HTTP to a control plane: import contracts see to that."""
    return {"server", "ca", "credentials"} <= options(command)


def test_every_option_of_what_reads_trust_is_known() -> None:
    assert options(serve) == set(SERVE)
    assert options(verify) == set(VERIFY_OPTIONS)
    assert {field.name for field in fields(Settings)} == set(SETTINGS)


def test_every_command_that_is_not_remote_is_known() -> None:
    assert {words for words, found in commands() if not remote(found)} == set(LOCAL_COMMANDS)


def test_every_setting_of_an_agent_is_known() -> None:
    assert {field.name for field in fields(AgentSettings)} == set(AGENT_SETTINGS)
    assert {field.name for field in fields(TrustConfiguration)} == set(TRUST_FIELDS)


def test_every_route_that_writes_is_known() -> None:
    services = cast("AdminServices", None)  # the description of routes asks none of them
    routes = create_app(services, random_bytes=bytes).openapi()["paths"]
    writes = {f"{verb} {path}" for path, verbs in routes.items() for verb in verbs if verb != "get"}
    assert writes == set(WRITES)


def test_every_word_about_a_trust_anchor_is_known() -> None:
    """And the command says no other."""
    assert AnchorQuery.model_fields.keys() == ANCHOR_WORDS.keys()
    connection = {"server", "ca", "credentials", "as_json", "files"}
    assert options(add_anchor) - connection == ANCHOR_WORDS.keys()


def test_every_field_that_an_agent_sends_before_it_is_believed_is_known() -> None:
    requests = (*MESSAGES, "ChallengeRequest")
    sent = {
        (name, field.name)
        for name in requests
        for field in agent_pb2.DESCRIPTOR.message_types_by_name[name].fields
    }
    tried = {(name, field) for name, found in MESSAGES.items() for field in found}
    assert {field for _, field in sent - tried} <= NO_CERTIFICATE
    assert tried <= sent
    services = agent_pb2.DESCRIPTOR.services_by_name.values()
    unary = {m.input_type.name for s in services for m in s.methods if not m.client_streaming}
    assert unary == set(requests)


def test_every_kind_of_evidence_is_known() -> None:
    """And each that the registry verifies has a media type among them."""
    named = {name: value for name, value in vars(media_types).items() if name.endswith("_EVIDENCE")}
    assert named.keys() == set(MEDIA_TYPES)
    assert {one for kind in registry.KINDS for one in kind.media_types} <= set(named.values())
    assert {name for name, said in MEDIA_TYPES.items() if said == KINDS} == set(MINTED)


def test_every_variable_of_the_environment_is_known() -> None:
    """Those that the source reads by name, and those that options may be read from."""
    named = {str(p.envvar) for _, found in commands() for p in found.params if p.envvar}
    found = {path: list(variables(tree)) for path, tree in sources().items()}
    read = {name for names in found.values() for name in names}
    used = {path: uses_of_the_environment(tree) for path, tree in sources().items()}
    assert used == {path: len(names) for path, names in found.items()}  # no other use of it
    assert named | read == set(ENVIRONMENT)


def test_whatever_is_to_be_tried_is_tried() -> None:
    """A name of a test in a table is that of a test in the file that tries them."""
    tables: tuple[Mapping[str, str], ...] = (
        *(SERVE, SETTINGS, VERIFY_OPTIONS, LOCAL_COMMANDS, AGENT_SETTINGS, TRUST_FIELDS, WRITES),
        ANCHOR_WORDS,
        *(*MESSAGES.values(), MEDIA_TYPES, ENVIRONMENT, {"": ANYTHING_ELSE}),
    )
    named = {said for table in tables for said in table.values() if said.startswith("test_")}
    tried = {node.name for node in ast.parse(TRIALS.read_text()).body if hasattr(node, "name")}
    assert named <= tried
    assert len(named) >= 8


@cache
def sources() -> Mapping[str, ast.Module]:
    """The program's own modules, parsed, by path below the package."""
    return {
        str(path.relative_to(SOURCE)): ast.parse(path.read_text())
        for path in SOURCE.rglob("*.py")
        if not path.name.endswith("_pb2.py")
    }


def last_name(node: ast.expr | None) -> str:
    """What a name or an attribute ends with: `environ` of `os.environ`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def variables(tree: ast.Module) -> Iterator[str]:
    """Names given to `environ.get`, `environ[...]` and `getenv`."""
    for node in ast.walk(tree):
        given: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            method, owner = node.func.attr, last_name(node.func.value)
            if method == "getenv" or (owner == "environ" and method in {"get", "pop"}):
                given = node.args[0]
        elif isinstance(node, ast.Subscript) and last_name(node.value) == "environ":
            given = node.slice
        if given is not None:
            yield str(given.value) if isinstance(given, ast.Constant) else last_name(given)


def uses_of_the_environment(tree: ast.Module) -> int:
    return sum(
        last_name(n) in {"environ", "getenv"} for n in ast.walk(tree) if isinstance(n, ast.expr)
    )


def test_roots_are_imported_and_anchors_made_in_known_places_only() -> None:
    """Whoever adds another caller adds another way in."""
    callers: dict[str, set[str]] = {
        name: set() for name in ("import_root", "DevelopmentRoot", "PinnedRoot")
    }
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                callers.get(last_name(node.func), set()).add(path)
    assert callers == {
        "import_root": {"controlplane/bootstrap.py", "controlplane/cli/verify.py"},
        "DevelopmentRoot": {"verifier/pki/development.py"},
        "PinnedRoot": {"verifier/pki/roots.py"},
    }


def test_nothing_in_the_control_plane_loads_code_that_is_installed_beside_it() -> None:
    """Attesters are found by entry point; verifiers are not. Nothing knows the development kit."""
    finders = {
        path
        for path, tree in sources().items()
        if imports(tree) & {"importlib.metadata", "pkg_resources", "pkgutil"}
    }
    assert finders == {"enclave_agent/attesters/registry.py"}
    assert not [path for path, tree in sources().items() if "sealward_devkit" in imports(tree)]


def imports(tree: ast.Module) -> set[str]:
    """Names of imported modules, and of the packages that they are in."""
    found = {name.name for n in ast.walk(tree) if isinstance(n, ast.Import) for name in n.names}
    found |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return found | {name.partition(".")[0] for name in found}
