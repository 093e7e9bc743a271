"""TPM quotes, keys and certificates of real and software TPMs come out as the manifest says."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)
from fakes import tpm_vectors
from fakes.tpm_vectors import Vector

from sealward.controlplane.cli.verify import verify as verify_command
from sealward.verifier.composite import measured_boot
from sealward.verifier.formats.tpm import attest as attests
from sealward.verifier.formats.tpm import credential, endorsement, keys, name, pcr, policy, quote
from sealward.verifier.formats.tpm import public as publics
from sealward.verifier.formats.tpm import signature as signatures
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.formats.tpm.public import KeyedHash, Public
from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import base64
from sealward.verifier.wire import json as strict_json
from sealward.verifier.wire.tcg_hash import HashAlg

SWTPM = ("tpm-swtpm-rsa", "tpm-swtpm-ecc")
ENDORSEMENT_HIERARCHY = bytes.fromhex("4000000b")  # its Name and qualified Name
GCE_BANKS = ("sha1", "sha256", "sha384")


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> dict[str, Vector]:
    return tpm_vectors.load(vectors_dir, "tpm")


def quoted(
    vectors: dict[str, Vector],
) -> list[tuple[str, bytes, bytes, Public, tuple[PcrBank, ...]]]:
    """Every quote with the public area of its key: (id, message, signature, AK, PCRs)."""
    keylime, gce = vectors["tpm-keylime-quote"], vectors["tpm-gce-cos-85-no-nonce"]
    found = [
        (
            keylime.id,
            keylime.read("quote_msg"),
            keylime.read("quote_sig"),
            publics.parse_sized(keylime.read("ak_pub_tpm2b")),
            tpm_vectors.tools_file(keylime, "pcrs_tools"),
        )
    ]
    for item in gce.expect["quotes"]:
        bank = item["bank"]
        found.append(
            (
                f"{gce.id} {bank}",
                gce.read(f"quote_{bank}"),
                gce.read(f"sig_{bank}"),
                publics.parse(gce.read("ak_pub_tpmt")),
                tpm_vectors.banks({bank: item["pcrs"]}),
            )
        )
    for id_ in SWTPM:
        vector = vectors[id_]
        message = vector.read("q.msg")
        selections = quote.require_quote(attests.parse(message)).selections
        values = pcr.split_raw(vector.read("pcrs.raw"), selections)
        ak = tpm_vectors.sized_or_bare(vector.read("ak.pub"))
        found.append((id_, message, vector.read("q.sig"), ak, values))
    return found


def test_every_entry_of_the_manifest_is_known_to_this_file(vectors: dict[str, Vector]) -> None:
    assert set(vectors) == {
        "tpm-keylime-quote",
        "tpm-coco-swtpm",
        "tpm-gce-cos-85-no-nonce",
        "tpm-parsec-certify-quote",
        *SWTPM,
    }
    assert {vector.entry["result"] for vector in vectors.values()} == {"verifies"}


def test_every_quote_verifies_and_shows_exactly_what_the_manifest_expects(
    vectors: dict[str, Vector],
) -> None:
    expected: dict[str, object] = {
        "tpm-keylime-quote": vectors["tpm-keylime-quote"].expect["attest"]
    }
    gce = vectors["tpm-gce-cos-85-no-nonce"].expect
    for item in gce["quotes"]:
        expected[f"tpm-gce-cos-85-no-nonce {item['bank']}"] = item["attest"]
    for id_ in SWTPM:
        expected[id_] = vectors[id_].expect["attest"]
    aks = {id_: vectors[id_.partition(" ")[0]].expect["ak"] for id_ in expected}
    cases = quoted(vectors)
    assert [case[0] for case in cases] == list(expected)
    for id_, message, signature, ak, values in cases:
        verified = quote.authenticate(message, signature, ak, values)
        assert tpm_vectors.attest_in_manifest_words(verified.attest) == expected[id_]
        assert tpm_vectors.public_in_manifest_words(ak) == aks[id_]
        assert attests.encode(verified.attest) == message
        assert signatures.encode(signatures.parse(signature)) == signature
        scheme = keys.check_attestation_key(ak)
        assert [int(scheme.scheme), scheme.hash.label] == aks[id_]["scheme"]
        assert verified.pcrs == values


def test_the_expected_key_sets_of_the_manifest_are_all_mapped(vectors: dict[str, Vector]) -> None:
    mapped = {
        "tpm-keylime-quote": {"attest", "ak"},
        "tpm-coco-swtpm": {"attest", "pcr16", "pcr17"},
        "tpm-gce-cos-85-no-nonce": {"ak", "quotes"},
        "tpm-parsec-certify-quote": {"certify", "quote"},
        "tpm-swtpm-rsa": {"ek", "ak", "attest", "pcrs", "policy_pcr_0_7_23"},
        "tpm-swtpm-ecc": {"ek", "ak", "attest", "pcrs", "policy_pcr_0_7_23"},
    }
    assert {id_: set(vector.expect) for id_, vector in vectors.items()} == mapped
    checked = {
        "tpm-keylime-quote": {"sig", "ak_name_matches"},
        "tpm-coco-swtpm": {"sig", "pcr_digest"},
        "tpm-gce-cos-85-no-nonce": {"ak_cert_key_equals_ak_pub", "ak_cert_chain", *GCE_BANKS},
        "tpm-parsec-certify-quote": {
            *("certify_sig", "quote_sig", "certified_name_equals_pubArea_name"),
        },
    }
    swtpm = {"ek_chain", "ek_cert_key_equals_ek_pub", "ak_name", "quote_sig", "pcr_digest"}
    for id_ in SWTPM:
        checked[id_] = swtpm | {"policy_pcr_digest_recomputed"}
    assert {id_: set(vector.checked) for id_, vector in vectors.items()} == checked
    for item in vectors["tpm-gce-cos-85-no-nonce"].expect["quotes"]:
        assert item.keys() == {"bank", "attest", "pcrs"}


def test_names_and_pcr_values_are_those_of_the_files(vectors: dict[str, Vector]) -> None:
    keylime = vectors["tpm-keylime-quote"]
    ak = publics.parse_sized(keylime.read("ak_pub_tpm2b"))
    assert name.name(ak) == keylime.read("ak_name")
    publics.parse_sized(keylime.read("ek_pub_tpm2b"))
    for id_ in SWTPM:
        vector = vectors[id_]
        ak = tpm_vectors.sized_or_bare(vector.read("ak.pub"))
        ek = tpm_vectors.sized_or_bare(vector.read("ek.pub"))
        assert name.name(ak) == vector.read("ak.name")
        assert tpm_vectors.public_in_manifest_words(ek) == vector.expect["ek"]
        (bank,) = next(case[4] for case in quoted(vectors) if case[0] == id_)
        shown = {str(index): digest.hex() for index, digest in bank.values}
        assert shown == vector.expect["pcrs"]


def below(parent: bytes, key: publics.Public) -> bytes:
    """The qualified Name of a key (TPM 2.0 part 1, section 16)."""
    return key.name_alg.to_bytes(2, "big") + key.name_alg.digest(parent + name.name(key))


def test_the_qualified_signer_is_the_ak_below_the_ek_below_the_endorsement_hierarchy(
    vectors: dict[str, Vector],
) -> None:
    for id_ in SWTPM:
        vector = vectors[id_]
        ak = tpm_vectors.sized_or_bare(vector.read("ak.pub"))
        ek = tpm_vectors.sized_or_bare(vector.read("ek.pub"))
        above = below(ENDORSEMENT_HIERARCHY, ek)
        signer = attests.parse(vector.read("q.msg")).qualified_signer
        assert below(above, ak) == signer


def test_policy_digests_are_those_the_tpm_computed(vectors: dict[str, Vector]) -> None:
    for id_ in SWTPM:
        vector = vectors[id_]
        (bank,) = next(case[4] for case in quoted(vectors) if case[0] == id_)
        chosen = PcrBank(bank.bank, tuple(item for item in bank.values if item[0] in (0, 7, 23)))
        sha256 = HashAlg.SHA256
        digest = policy.policy_pcr(sha256, policy.start(sha256), (chosen,))
        assert digest == vector.read("pcr.policy")
        assert digest.hex() == vector.expect["policy_pcr_0_7_23"]
        sealed = tpm_vectors.publics.parse_sized(vector.read("seal.pub"))
        assert isinstance(sealed.key, KeyedHash)
        assert sealed.auth_policy == digest


def swtpm_roots(vector: Vector) -> tuple[EndorsementRoot, ...]:
    return (EndorsementRoot(vector.der("swtpm-localca-rootca-cert.pem")),)


def test_ek_certificates_of_swtpm_chain_to_the_tenants_root_and_certify_the_ek(
    vectors: dict[str, Vector],
) -> None:
    for id_ in SWTPM:
        vector = vectors[id_]
        endorsed = endorsement.endorse(
            vector.der("ek.der"),
            [vector.der("issuercert.pem")],
            roots=swtpm_roots(vector),
            now=vector.verify_at,
        )
        assert (endorsed.manufacturer, endorsed.model) == ("id:00001014", "swtpm")
        assert endorsed.development  # a software TPM, though its root was not declared as one
        window = (endorsed.window.not_before, endorsed.window.not_after)
        leaf = certificate.parse(vector.der("ek.der"))
        assert (leaf.not_before, leaf.not_after) == vector.window
        assert window[1] == vector.window[1]
        endorsement.check_key(endorsed, tpm_vectors.sized_or_bare(vector.read("ek.pub")))
        other = next(vectors[one] for one in SWTPM if one != id_)
        with pytest.raises(RefusedEvidence) as caught:
            endorsement.check_key(endorsed, tpm_vectors.sized_or_bare(other.read("ek.pub")))
        assert caught.value.code is Code.KEY_KIND_MISMATCH
        for at, code in (
            (vector.window[0] - timedelta(days=1), Code.CERTIFICATE_NOT_YET_VALID),
            (vector.verify_at, Code.ROOT_NOT_PINNED),
        ):
            roots = () if code is Code.ROOT_NOT_PINNED else swtpm_roots(vector)
            with pytest.raises(RefusedEvidence) as caught:
                endorsement.endorse(
                    vector.der("ek.der"),
                    [vector.der("issuercert.pem"), vector.der("swtpm-localca-rootca-cert.pem")],
                    roots=roots,
                    now=at,
                )
            assert caught.value.code is code


def test_the_certificates_of_google_come_out_as_the_manifest_says(vectors_dir: Path) -> None:
    (vector,) = tpm_vectors.load(vectors_dir, "tpm-ek-cert").values()
    assert vector.expect == {"count": len(vector.paths)}
    roots = {
        "gcp_ek_ak_ca_intermediate_v3.crt": (
            "google_gcp_ek_ak_ca_intermediate_v3",
            "google_gcp_ek_ak_ca_root",
        ),
        "tpm_ek_intermediate_3.crt": ("google_tpm_ek_intermediate_3", "google_tpm_ek_root_1"),
    }
    windows: list[tuple[datetime, datetime]] = []
    accepted: list[str] = []
    for role in vector.paths:
        said = vector.checked[role]
        intermediate, anchor = (
            tpm_vectors.root(vectors_dir, one)
            for one in next(roots[file] for file in roots if f"via {file};" in said)
        )
        leaf = certificate.parse(vector.der(role))
        path = (leaf, certificate.parse(intermediate), certificate.parse(anchor))
        rules = chain.Rules(
            algorithms=frozenset({algorithms.SignatureAlgorithm.RSA_PKCS1_SHA256}),
            critical=frozenset({endorsement.OID_SUBJECT_ALTERNATIVE_NAME}),
        )
        chain.walk(path, rules=rules, now=vector.verify_at)
        windows.append((leaf.not_before, leaf.not_after))
        assert said.startswith("chain ok")
        assert said.endswith(f"serial {leaf.serial:#x}")
        key = algorithms.load_public_key(leaf.spki, owner=role)
        kind = "RSAPublicKey" if isinstance(key, rsa.RSAPublicKey) else "ECPublicKey"
        assert f"key {kind};" in said
        try:
            endorsed = endorsement.endorse(
                vector.der(role),
                [intermediate],
                roots=(EndorsementRoot(anchor),),
                now=vector.verify_at,
            )
        except RefusedEvidence as error:
            assert error.code is Code.CERTIFICATE_FORBIDDEN  # noqa: PT017 - the others are accepted
        else:
            accepted.append(role)
            assert (endorsed.manufacturer, endorsed.model) == ("id:474F4F47", "vTPM")
            assert not endorsed.development
    starts, ends = zip(*windows, strict=True)
    assert vector.window == (max(starts), min(ends))
    # Encryption keys with the TCG's extended key usage; Google's private CA leaves that out.
    assert accepted == ["uca_tpm_ecc_enc_cert", "uca_tpm_rsa_enc_cert"]


def test_the_ak_certificate_of_google_chains_and_its_log_explains_three_banks(
    vectors: dict[str, Vector], vectors_dir: Path
) -> None:
    vector = vectors["tpm-gce-cos-85-no-nonce"]
    leaf = certificate.parse(vector.der("ak_cert"))
    path = tuple(
        certificate.parse(tpm_vectors.root(vectors_dir, one))
        for one in ("google_tpm_ek_intermediate_2", "google_tpm_ek_root_1")
    )
    rules = chain.Rules(
        algorithms=frozenset({algorithms.SignatureAlgorithm.RSA_PKCS1_SHA256}),
        critical=frozenset({endorsement.OID_SUBJECT_ALTERNATIVE_NAME}),
    )
    chain.walk((leaf, *path), rules=rules, now=vector.verify_at)
    assert (leaf.not_before, leaf.not_after) == vector.window
    ak = keys.load(publics.parse(vector.read("ak_pub_tpmt")), owner="AK")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert ak.public_bytes(*form) == load_der_public_key(leaf.spki).public_bytes(*form)
    banks = tuple(
        bank for case in quoted(vectors) if case[0].startswith(vector.id) for bank in case[4]
    )
    assert tuple(bank.bank.label for bank in banks) == GCE_BANKS
    found = measured_boot.confirm(vector.read("event_log"), banks)
    assert found.bank == "sha384"
    assert found.confirmed == tuple(range(10))
    assert found.contradicted == ()
    (boot,) = [fact for fact in found.facts if fact.name == "secure_boot"]
    assert (boot.register, boot.standing) == (7, "authenticated")
    (line,) = [fact for fact in found.facts if fact.name == "kernel_command_line"]
    assert line.standing == "extended"
    for bank in banks:  # each alone, as the manifest says of each
        alone = measured_boot.confirm(vector.read("event_log"), (bank,))
        assert alone.confirmed == tuple(range(10))


def test_an_event_log_of_another_machine_is_refused(
    vectors: dict[str, Vector], vectors_dir: Path
) -> None:
    logs = tpm_vectors.load(vectors_dir, "tpm-eventlog")
    cases = [case for case in quoted(vectors) if case[0].startswith("tpm-gce")]
    for vector in logs.values():
        with pytest.raises(RefusedEvidence) as caught:
            measured_boot.confirm(vector.read("event_log"), cases[1][4])
        assert caught.value.code is Code.EVENT_LOG_MISMATCH


def test_the_quote_of_coco_verifies_under_its_bare_key(vectors: dict[str, Vector]) -> None:
    vector = vectors["tpm-coco-swtpm"]
    document = json.loads(vector.read("evidence"))  # noqa: TID251 - test data
    part = document["tpm_quote"]
    message = _b64(part["message"])
    parsed = signatures.parse(_b64(part["signature"]))
    key = load_der_public_key(_b64(document["ak_public"]))
    assert isinstance(key, rsa.RSAPublicKey)
    quote.check_signature(message, parsed, key)
    assert vector.checked["sig"] == f"('{parsed.scheme.name.lower()}', '{parsed.hash.label}')"
    attest = attests.parse(message)
    assert tpm_vectors.attest_in_manifest_words(attest) == vector.expect["attest"]
    values = tuple((index, _digest(item)) for index, item in enumerate(part["pcrs"]))
    banks = (PcrBank(HashAlg.SHA256, values),)
    found = quote.require_quote(attest)
    quote.check_digest(found, quote.check_selection(found.selections, banks), parsed.hash)
    assert values[16][1].hex() == vector.expect["pcr16"]
    assert values[17][1].hex() == vector.expect["pcr17"]


def _b64(text: str) -> bytes:
    return base64.decode(text, what="vector", max_bytes=1 << 16)


def _digest(item: object) -> bytes:
    if isinstance(item, str):
        return bytes.fromhex(item) if len(item) == 64 else _b64(item)
    assert isinstance(item, list)
    return bytes(item)


def test_certification_and_quote_of_parsec_verify_under_one_key(vectors: dict[str, Vector]) -> None:
    vector = vectors["tpm-parsec-certify-quote"]
    data = vector.read("evidence")
    key = load_pem_public_key(vector.read("ak_pub"))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    both = _parsec(data)
    for kind, part, message_name in (
        ("certify", "kat", "certInfo"),
        ("quote", "pat", "attestInfo"),
    ):
        message, parsed = both[part][message_name], signatures.parse(both[part]["sig"])
        quote.check_signature(message, parsed, key)
        attest = attests.parse(message)
        assert attests.encode(attest) == message
        assert tpm_vectors.attest_in_manifest_words(attest) == vector.expect[kind]
        said = f"('{parsed.scheme.name.lower()}', '{parsed.hash.label}')"
        assert vector.checked[f"{kind}_sig"] == said
    certified = attests.parse(both["kat"]["certInfo"]).attested
    assert isinstance(certified, attests.Certified)
    assert name.name(publics.parse(both["kat"]["pubArea"])) == certified.name
    with pytest.raises(RefusedEvidence) as caught:
        quote.require_quote(attests.parse(both["kat"]["certInfo"]))
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


def _parsec(data: bytes) -> dict[str, dict[str, bytes]]:
    """The two maps, cut out by the names of their members: the file is not deterministic CBOR."""
    import cbor2  # noqa: PLC0415 - only for a foreign file

    found: dict[str, dict[str, bytes]] = cbor2.loads(data)  # noqa: TID251 - a foreign file
    return found


def test_the_credential_of_keylime_reads_and_is_of_the_size_we_make(
    vectors: dict[str, Vector],
) -> None:
    vector = vectors["tpm-keylime-quote"]
    read = tpm_vectors.credential_file(vector.read("mkcred"))
    ek = publics.parse_sized(vector.read("ek_pub_tpm2b"))
    ours = credential.make(
        ek, vector.read("ak_name"), b"\x07" * 9, random_bytes=lambda n: b"\x05" * n
    )
    assert len(ours.encrypted_secret) == len(read.encrypted_secret)


def test_no_quote_verifies_with_the_parts_of_another(vectors: dict[str, Vector]) -> None:
    cases = quoted(vectors)
    for (_, message, signature, ak, values), (
        _,
        message_2,
        signature_2,
        ak_2,
        values_2,
    ) in permutations(cases, 2):
        swaps: list[tuple[bytes, bytes, Public, tuple[PcrBank, ...]]] = [
            (message_2, signature, ak, values),
            (message, signature_2, ak, values),
            (message, signature, ak, values_2),
        ]
        if ak_2 != ak:
            swaps.append((message, signature, ak_2, values))
        for swap in swaps:
            if swap[2:] == (ak, values) and values == values_2:
                continue
            with pytest.raises(RefusedEvidence):
                quote.authenticate(*swap)


def refused(message: bytes, signature: bytes, ak: Public, pcrs: tuple[PcrBank, ...]) -> None:
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        quote.authenticate(message, signature, ak, pcrs)


def damages(data: bytes) -> list[bytes]:
    return [_xor(data, at) for at in range(len(data))]


def test_one_xor_at_every_position_of_every_part_is_refused(vectors: dict[str, Vector]) -> None:
    for id_, message, signature, ak, values in quoted(vectors):
        for damaged in damages(message):
            refused(damaged, signature, ak, values)
        for damaged in damages(signature):
            refused(message, damaged, ak, values)
        for bank_at, bank in enumerate(values):
            for at, (index, digest) in enumerate(bank.values):
                changed = list(bank.values)
                changed[at] = (index, _xor(digest, at % len(digest)))
                other = list(values)
                other[bank_at] = PcrBank(bank.bank, tuple(changed))
                with pytest.raises(RefusedEvidence) as caught:
                    quote.authenticate(message, signature, ak, tuple(other))
                assert caught.value.code is Code.PCR_MISMATCH, id_


def _xor(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ (1 << at % 8),)) + data[at + 1 :]


@pytest.mark.parametrize("id_", SWTPM)
def test_the_command_verifies_a_quote_from_its_files(vectors: dict[str, Vector], id_: str) -> None:
    vector = vectors[id_]
    files = [str(vector.paths[role]) for role in ("q.msg", "q.sig", "ak.pub", "ek.pub", "ek.der")]
    files.append(str(vector.paths["issuercert.pem"]))
    at = ["--json", "--at", vector.verify_at.isoformat()]
    root = ["--ek-root", str(vector.paths["swtpm-localca-rootca-cert.pem"])]
    values = ["--role", f"tpm-pcr-values={vector.paths['pcrs.raw']}"]
    nonce = vector.expect["attest"]["extra_data"]
    answer = CliRunner().invoke(
        verify_command, [*at, *root, *values, "--nonce", nonce, *reversed(files)]
    )
    assert answer.exit_code == 0, answer.output
    document = strict_json.decode(answer.output.encode(), what="answer", max_bytes=1 << 20)
    assert isinstance(document, dict)
    claims: Any = document["claims"]
    assert claims["tee"] == "tpm"
    assert claims["report_data"] == nonce
    codes = [verdict["code"] for verdict in claims["verdicts"]]
    assert codes == ["tpm_only", "key_residency_unproven", "development_root"]
    for arguments, code in (
        ([*at, *root, *files], Code.EVIDENCE_MISSING),
        ([*at, *values, *files], Code.ENDORSEMENT_MISSING),
        ([*at, *root, *values, "--nonce", "00" * 32, *files], Code.BINDING_MISMATCH),
    ):
        answer = CliRunner().invoke(verify_command, arguments)
        assert answer.exit_code == 1
        assert code.value in answer.output


def test_the_command_takes_the_pcr_file_of_tpm2_tools(vectors: dict[str, Vector]) -> None:
    vector = vectors["tpm-keylime-quote"]
    roles = ("quote_msg", "quote_sig", "ak_pub_tpm2b", "pcrs_tools")
    answer = CliRunner().invoke(verify_command, [str(vector.paths[role]) for role in roles])
    assert answer.exit_code == 0, answer.output
    assert "the quote is genuine" in answer.output


def test_trailing_bytes_are_refused_in_every_structure(vectors: dict[str, Vector]) -> None:
    for _, message, signature, ak, _ in quoted(vectors):
        encoded = publics.encode(ak)
        for parse, data in (
            (attests.parse, message),
            (signatures.parse, signature),
            (publics.parse, encoded),
        ):
            parse(data)
            for damaged in (data + b"\0", data[:-1]):
                with pytest.raises(MalformedEvidence):
                    parse(damaged)
