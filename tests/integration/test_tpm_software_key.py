"""A key in software whose public area claims to be in a TPM: no TPM opens a credential for it.

Anybody can write such a public area, and anybody can load it into a TPM (LoadExternal), which then
knows its Name. What keeps it from being enrolled is that ActivateCredential needs an authorisation
of the object, and a TPM that does not hold its sensitive part has none to give.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

import pytest
from fakes import software_tpm, swtpm
from fakes.software_tpm import AK_ATTRIBUTES, tpm2b

from sealward.verifier.formats.tpm import credential, keys, name, public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.swtpm import Swtpm

pytestmark = pytest.mark.integration

USER_WITH_AUTH, ADMIN_WITH_POLICY = 0x40, 0x80
BARE = AK_ATTRIBUTES & ~USER_WITH_AUTH
SECRET = b"s" * 32
# PolicyCommandCode(ActivateCredential), which whoever holds the object can always satisfy.
POLICY = hashlib.sha256(bytes(32) + struct.pack(">II", 0x16C, 0x147)).digest()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with swtpm.fresh(tmp_path_factory.mktemp("swtpm")) as running:
        running.tool("tpm2_createek", "-c", "ek.ctx", "-G", "rsa", "-u", "ek.pub", "-f", "tpmt")
        running.tool("tpm2_flushcontext", "-t")
        yield running


def activate(machine: Swtpm, context: str, area: bytes, *, by_policy: bool) -> bytes:
    """Have the TPM open a credential for the object of this public area, loaded as `context`."""
    ek = public.parse((machine.folder / "ek.pub").read_bytes())
    made = credential.make(ek, name.name(public.parse(area)), SECRET, random_bytes=os.urandom)
    header = struct.pack(">II", 0xBADCC0DE, 1)
    blob = header + tpm2b(made.id_object) + tpm2b(made.encrypted_secret)
    (machine.folder / "blob").write_bytes(blob)
    sessions = ["ek.session"]
    policy: list[str] = []
    machine.tool("tpm2_startauthsession", "--policy-session", "-S", "ek.session")
    machine.tool("tpm2_policysecret", "-S", "ek.session", "-c", "e")
    if by_policy:
        sessions.append("object.session")
        machine.tool("tpm2_startauthsession", "--policy-session", "-S", "object.session")
        machine.tool("tpm2_policycommandcode", "-S", "object.session", "TPM2_CC_ActivateCredential")
        policy = ["-p", "session:object.session"]
    try:
        machine.tool(
            *("tpm2_activatecredential", "-c", context, "-C", "ek.ctx", "-i", "blob"),
            *("-o", "opened", "-P", "session:ek.session", *policy),
        )
    finally:
        for session in sessions:
            machine.tool("tpm2_flushcontext", session)
        machine.tool("tpm2_flushcontext", "-t")
    return (machine.folder / "opened").read_bytes()


def refuse(machine: Swtpm, area: bytes, *, by_policy: bool) -> None:
    """Load a public area alone, which a TPM does, and see it open nothing."""
    (machine.folder / "claimed.pub").write_bytes(tpm2b(area))
    machine.tool("tpm2_loadexternal", "-C", "n", "-u", "claimed.pub", "-c", "claimed.ctx")
    machine.tool("tpm2_flushcontext", "-t")
    with pytest.raises(AssertionError, match=r"(?i)0x12f"):  # TPM_RC_AUTH_UNAVAILABLE
        activate(machine, "claimed.ctx", area, by_policy=by_policy)


@pytest.mark.parametrize(
    ("attributes", "policy"),
    [
        (BARE | USER_WITH_AUTH, b""),
        (BARE | ADMIN_WITH_POLICY, POLICY),
        (BARE | USER_WITH_AUTH | ADMIN_WITH_POLICY, POLICY),
        (BARE, POLICY),
    ],
    ids=["by value", "by policy", "by both", "policy alone"],
)
def test_a_key_in_software_with_the_attributes_of_an_attestation_key_opens_no_credential(
    machine: Swtpm, attributes: int, policy: bytes
) -> None:
    area = software_tpm.public_area(
        "p256", "not in a TPM", scheme=("ecdsa", "sha256"), attributes=attributes, policy=policy
    )
    keys.check_attestation_key(public.parse(area))  # its public area says all the right things
    refuse(machine, area, by_policy=bool(policy))


def test_a_lock_object_that_was_only_written_down_opens_no_credential(machine: Swtpm) -> None:
    refuse(machine, software_tpm.lock_object({}, policy=POLICY), by_policy=True)


@pytest.mark.parametrize("by_policy", [False, True])
def test_the_same_steps_open_a_credential_for_a_key_that_is_in_the_tpm(
    machine: Swtpm, *, by_policy: bool
) -> None:
    machine.tool("tpm2_createprimary", "-C", "e", "-c", "primary.ctx")
    (machine.folder / "policy").write_bytes(POLICY)
    kind = "adminwithpolicy" if by_policy else "userwithauth"
    machine.tool(
        *("tpm2_create", "-C", "primary.ctx", "-G", "ecc256:ecdsa-sha256:null", "-g", "sha256"),
        *("-a", f"fixedtpm|fixedparent|sensitivedataorigin|restricted|sign|{kind}"),
        *(["-L", "policy"] if by_policy else []),
        *("-u", "born.pub", "-r", "born.priv", "-c", "born.ctx"),
    )
    machine.tool("tpm2_flushcontext", "-t")
    area = public.encode(public.parse_sized((machine.folder / "born.pub").read_bytes()))
    keys.check_attestation_key(public.parse(area))
    assert activate(machine, "born.ctx", area, by_policy=by_policy) == SECRET
