"""Node and server certificates: one key, one purpose, ten minutes."""

from __future__ import annotations

import contextlib
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from fakes.control_plane import World, world
from fakes.instances import Instance, admitted

from sealward.controlplane.adapters.certificates import NODE_CERTIFICATE_LIFE
from sealward.controlplane.domain.errors import Code, Refused
from sealward.verifier.rats.binding import Purpose


def served(here: World) -> x509.Certificate:
    """The certificate that a client is shown: through a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.create_default_context(cadata=here.plane.trust.server_roots[0])
    client = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    context = here.plane.server_identity.tls_context()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def leaf(instance: Instance) -> x509.Certificate:
    return x509.load_der_x509_certificate(instance.chain[0])


def test_a_node_certificate_is_for_exactly_the_bound_key(here: World) -> None:
    instance = admitted(here)
    certificate, root = leaf(instance), x509.load_pem_x509_certificate(here.plane.node_root)
    public = certificate.public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == instance.keys.tls_spki
    certificate.verify_directly_issued_by(root)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(usage.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    (uri,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.endswith(f"/node/{instance.node_id}")
    assert instance.platform.chip_id.hex() not in uri
    life = certificate.not_valid_after_utc - here.clock.now()
    assert timedelta(0) < life <= NODE_CERTIFICATE_LIFE == timedelta(minutes=10)


def test_the_roots_are_two_and_neither_certifies_for_the_other(here: World) -> None:
    instance = admitted(here)
    server_root = x509.load_pem_x509_certificate(here.plane.trust.server_roots[0].encode())
    node_root = x509.load_pem_x509_certificate(here.plane.node_root)
    with pytest.raises(ValueError, match=r".+"):
        leaf(instance).verify_directly_issued_by(server_root)
    shown = served(here)
    shown.verify_directly_issued_by(server_root)
    with pytest.raises(ValueError, match=r".+"):
        shown.verify_directly_issued_by(node_root)
    for root in (server_root, node_root):
        constraint = root.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraint.critical, constraint.value.ca, constraint.value.path_length) == (
            True,
            True,
            0,
        )


def test_a_fresh_certificate_comes_when_half_of_the_life_is_over(here: World) -> None:
    instance = admitted(here)
    ends = leaf(instance).not_valid_after_utc
    for after, renewed in ((timedelta(0), False), (timedelta(minutes=6), True)):
        here.clock.advance(after)
        call = instance.attest_call(
            instance.presented(here, Purpose.ATTEST), certificate_not_after=ends
        )
        answer = here.plane.attestation.attest(call)
        instance.take(answer.terms, answer.content_keys, answer.ratchet)
        assert (answer.certificate is not None) == renewed
    assert answer.certificate is not None
    assert answer.certificate.not_after > ends


def test_a_lease_ends_with_the_certificate_at_the_latest(here: World) -> None:
    instance = admitted(here)
    ends = here.clock.now() + timedelta(minutes=5, seconds=1)
    call = instance.attest_call(
        instance.presented(here, Purpose.ATTEST), certificate_not_after=ends
    )
    answer = here.plane.attestation.attest(call)
    (lease,) = instance.verified(answer.terms).terms.leases
    assert lease.not_after_ms <= int(ends.timestamp() * 1000)


def test_the_pins_outlive_a_restart(tmp_path: Path) -> None:
    """Agents measure the trust configuration: it is the same bytes after every start."""
    with world(tmp_path) as here:
        before = here.plane.trust.encode()
        before_key = served(here).public_key()
    with world(tmp_path) as here:
        assert here.plane.trust.encode() == before
        assert (here.plane.settings.data / "trust.json").read_bytes() == before
        assert served(here).public_key() != before_key  # made at every start, never kept


def test_keys_and_certificates_are_restored_together_or_not_at_all(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        data = here.plane.settings.data
    (data / "server-root.pem").write_bytes((data / "node-root.pem").read_bytes())
    with pytest.raises(Refused) as caught, world(tmp_path):
        pass
    assert caught.value.code is Code.keystore_refused
