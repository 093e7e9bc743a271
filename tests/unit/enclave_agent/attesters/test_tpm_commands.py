"""The bytes of commands against expectations written by hand, and any answer at all to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.tpm_answers import SUCCESS, Script, authorised, plain, refusal, speak
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.attesters.port import Credential
from sealward.enclave_agent.attesters.tpm import (
    errors,
    exchange,
    identity,
    keys,
    lock,
    quote,
)
from sealward.enclave_agent.attesters.tpm.answers import Created, Loaded
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrBank, PcrSelection, parse_public
from sealward.enclave_agent.attesters.tpm.commands import OWNER
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.exchange import CommandCode
from sealward.enclave_agent.attesters.tpm.keys import (
    AttestationKeyKind,
    EndorsementKeyKind,
    Hierarchy,
)
from sealward.enclave_agent.attesters.tpm.lock import LockObject

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sealward.enclave_agent.attesters.tpm.commands import Tpm

SELECTION = (PcrSelection(HashAlg.SHA256, (0, 7)),)
PUBLIC = parse_public(bytes.fromhex("0023 000b 00050472 0000 0010 0018000b 0003 0010") + bytes(4))
LOADED = Loaded(0x80000001, PUBLIC)
LOW_RANGE_EK = Loaded(
    0x81010001, parse_public(bytes.fromhex("0001 000b 000300b2 0020") + bytes(32 + 2))
)
SEALED = Created(b"private", PUBLIC)
BANKS = (PcrBank(HashAlg.SHA256, ((0, bytes(32)), (7, bytes(32)))),)


def test_flush_context_names_the_handle_as_a_parameter() -> None:
    script = Script(SUCCESS)
    speak(script).flush(0x80000000)
    assert script.asked == [bytes.fromhex("8001 0000000e 00000165 80000000")]


def test_pcr_read_is_a_bare_selection() -> None:
    answer = "00000014 00000001 000b 03 810000 00000002 0020" + "aa" * 32 + "0020" + "bb" * 32
    script = Script(plain(bytes.fromhex(answer)))
    reading = speak(script).pcr_read(SELECTION)
    assert script.asked == [
        bytes.fromhex("8001 00000014 0000017e 00000001 000b 03 810000"),
    ]
    assert reading.digests == (b"\xaa" * 32, b"\xbb" * 32)


def test_a_quote_is_authorised_by_the_empty_password_and_leaves_the_scheme_to_the_key() -> None:
    answer = "0002 abcd 0014 000b 0003 010203"
    script = Script(authorised(bytes.fromhex(answer)))
    signed = speak(script).quote(0x80000001, b"\x11" * 4, SELECTION)
    assert script.asked == [
        bytes.fromhex(
            "8002 0000002d 00000158 80000001"
            "00000009 40000009 0000 00 0000"
            "0004 11111111 0010 00000001 000b 03 810000"
        )
    ]
    assert signed.message == b"\xab\xcd"
    assert signed.signature == bytes.fromhex("0014 000b 0003 010203")
    assert signed.hash is HashAlg.SHA256


def test_a_lock_opens_by_two_sessions_of_which_one_is_for_this_command_alone() -> None:
    started = bytes.fromhex("0010") + bytes(16)
    script = Script(
        plain(b"\x03\0\0\0" + started),
        SUCCESS,
        SUCCESS,
        plain(b"\x03\0\0\x01" + started),
        authorised(bytes.fromhex("0000 8024 40000007 0000")),
        bytes.fromhex("8002 0000001d 00000000 00000005 0003 6b6579 0000010000 0000010000"),
        SUCCESS,
    )
    tpm = speak(script)
    with tpm.policy_session(HashAlg.SHA256) as session:
        tpm.policy_pcr(session, SELECTION)
        tpm.policy_command_code(session, CommandCode.ACTIVATE_CREDENTIAL)
        secret = keys.activate_credential(
            tpm,
            LOADED,
            LOW_RANGE_EK,
            id_object=b"id",
            encrypted_secret=b"seed",
            key_authorisation=session,
        )
    assert secret == b"key"
    assert script.asked[2] == bytes.fromhex("8001 00000012 0000016c 03000000 00000147")
    assert script.asked[5] == bytes.fromhex(
        "8002 00000032 00000147 80000001 81010001"
        "00000012 03000000 0000 01 0000 03000001 0000 01 0000"
        "0002 6964 0004 73656564"
    )


def test_what_is_held_is_flushed_when_its_use_fails() -> None:
    script = Script(
        plain(bytes.fromhex("03000000 0010") + bytes(16)),
        refusal(0x99D),
        refusal(0x910),  # the flush fails as well: told is the first
    )
    tpm = speak(script)
    with (
        pytest.raises(TpmError) as caught,
        tpm.policy_session(HashAlg.SHA256) as session,
    ):
        tpm.policy_pcr(session, SELECTION)
    assert caught.value.code == 0x99D
    assert script.asked[-1] == bytes.fromhex("8001 0000000e 00000165 03000000")


def test_an_object_with_another_name_is_refused_and_flushed() -> None:
    answer = authorised(b"\0\x04\0\x0bno", handle=b"\x80\0\0\x01")
    script = Script(answer, SUCCESS)
    with (
        pytest.raises(TpmError, match="name"),
        speak(script).load(0x80000000, SEALED),
    ):
        pass
    assert script.asked[-1] == bytes.fromhex("8001 0000000e 00000165 80000001")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0x101, "refused TPM2_PCR_READ with 0x101: it is in failure mode"),
        (0x18B, "with 0x18b (handle 1): there is nothing with this handle"),
        (0x99D, "with 0x99d (session 1): a policy check failed"),
        (0x2C4, "with 0x2c4 (parameter 2): a value is out of range"),
        (0x0A2, "with 0x0a2: the authorisation is wrong"),
        (0x902, "no memory left for objects"),
        (0x921, "locked out"),
        (0x0B0143, "The software in front of the TPM refused TPM2_PCR_READ with 0xb0143"),
        (0x17F, "see TPM 2.0 part 2"),
    ],
)
def test_a_response_code_is_a_sentence(code: int, told: str) -> None:
    with pytest.raises(TpmError) as caught:
        speak(Script(refusal(code))).pcr_read(SELECTION)
    assert told in caught.value.sentence
    assert caught.value.sentence.endswith(".")
    assert caught.value.code == code


@given(st.integers(1, 2**32 - 1))
def test_every_response_code_but_success_is_a_sentence(code: int) -> None:
    error = errors.refused("TPM2_QUOTE", code)
    assert error.code == code
    assert error.sentence.endswith(".")
    assert "\n" not in error.sentence


def test_an_error_is_recognised_whatever_it_is_about() -> None:
    for code in (0x09D, 0x19D, 0x99D, 0x2DD):
        assert errors.refused("TPM2_ACTIVATECREDENTIAL", code).says(errors.POLICY_FAIL)
    assert not errors.refused("TPM2_ACTIVATECREDENTIAL", 0x99E).says(errors.POLICY_FAIL)
    assert not errors.refused("TPM2_ACTIVATECREDENTIAL", 0x11D).says(errors.POLICY_FAIL)
    assert not TpmError(None, "It is gone.").says(errors.POLICY_FAIL)


@pytest.mark.parametrize("code", [0x908, 0x90A, 0x922])
def test_a_busy_tpm_is_asked_the_same_again(code: int) -> None:
    busy, pauses = refusal(code), list[float]()
    script = Script(busy, busy, SUCCESS)
    speak(script, pauses).flush(0x80000000)
    assert script.asked == [script.asked[0]] * 3
    assert pauses == [0.01, 0.02]


def test_a_tpm_that_stays_busy_is_an_error_after_ten_seconds() -> None:
    pauses: list[float] = []
    script = Script(refusal(0x922))
    with pytest.raises(TpmError, match="stayed busy") as caught:
        speak(script, pauses).flush(0x80000000)
    assert caught.value.code == 0x922
    assert len(script.asked) == exchange.ATTEMPTS
    assert 10 < sum(pauses) < 11


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        SUCCESS[:9],
        SUCCESS + b"\0",
        bytes.fromhex("8001 0000000b 00000101 00"),
        bytes.fromhex("8002 0000000a 00000000"),
        bytes.fromhex("8001 0000000b 00000000"),
        bytes.fromhex("8001 00000009 00000000"),
        plain(bytes(4097)),
    ],
)
def test_an_answer_outside_its_frame_is_refused(answer: bytes) -> None:
    with pytest.raises(TpmError, match="cannot be read") as caught:
        speak(Script(answer)).flush(0x80000000)
    assert caught.value.code is None


def _hold(context: AbstractContextManager[object]) -> None:
    with context:
        pass


USES: dict[str, Callable[[Tpm], object]] = {
    "create_primary": lambda tpm: _hold(tpm.create_primary(OWNER, b"template")),
    "create": lambda tpm: tpm.create(0x80000000, b"template"),
    "load": lambda tpm: _hold(tpm.load(0x80000000, SEALED)),
    "read_public": lambda tpm: tpm.read_public(0x81010001),
    "nv_read_public": lambda tpm: tpm.nv_read_public(0x01C00002),
    "nv_read": lambda tpm: tpm.nv_read(0x01C00002, authority=OWNER, size=3, offset=0),
    "policy_session": lambda tpm: _hold(tpm.policy_session(HashAlg.SHA256)),
    "policy_secret": lambda tpm: tpm.policy_secret(0x03000000, OWNER),
    "policy_pcr": lambda tpm: tpm.policy_pcr(0x03000000, SELECTION),
    "quote": lambda tpm: quote.collect(tpm, LOADED, SELECTION, nonce=bytes(32)),
    "read_pcrs": lambda tpm: quote.read_pcrs(tpm, SELECTION),
    "flush": lambda tpm: tpm.flush(0x80000000),
    "certificate": lambda tpm: keys.endorsement_certificate(tpm, EndorsementKeyKind.RSA_2048),
    "endorsement": lambda tpm: _hold(keys.endorsement_key(tpm, EndorsementKeyKind.RSA_2048)),
    "attestation": lambda tpm: keys.create_attestation_key(
        tpm, AttestationKeyKind.ECC_P256, Hierarchy.ENDORSEMENT
    ),
    "activate": lambda tpm: keys.activate_credential(
        tpm, LOADED, LOW_RANGE_EK, id_object=b"id", encrypted_secret=b"seed"
    ),
    "identity": lambda tpm: identity.make(tpm, AttestationKeyKind.ECC_P256, None),
    "lock": lambda tpm: lock.make(tpm, BANKS, Hierarchy.OWNER),
    "open_lock": lambda tpm: lock.open_credential(
        tpm,
        LockObject(SEALED, Hierarchy.OWNER, BANKS),
        EndorsementKeyKind.RSA_2048,
        Credential(b"id", b"seed"),
    ),
}
small = st.sampled_from([b"\0", b"\0\0\0\x01", b"\0\x0b", b"\0\x03abc", b"\x03\x81\0\0", b"\0\x20"])
bodies = st.one_of(st.binary(max_size=80), st.lists(small, max_size=12).map(b"".join))
answers = st.one_of(
    st.binary(max_size=40),
    bodies.map(plain),
    bodies.map(authorised),
    bodies.map(lambda body: authorised(body, handle=b"\x80\0\0\0")),
)


@pytest.mark.parametrize("use", USES)
@given(script=st.lists(answers, min_size=1, max_size=4))
def test_any_answers_give_a_value_or_the_one_error(use: str, script: list[bytes]) -> None:
    transport = Script(*script)
    try:
        USES[use](speak(transport))
    except TpmError as error:
        refusal = error.sentence
    else:
        refusal = "."
    assert refusal.endswith(".")
    assert 1 <= len(transport.asked) <= 4 * quote.ATTEMPTS * exchange.ATTEMPTS


def test_callers_mistakes_are_not_the_tpms() -> None:
    tpm = speak(Script(SUCCESS))
    with pytest.raises(ValueError, match="32 bytes"):
        quote.collect(tpm, LOADED, SELECTION, nonce=bytes(31))
    for nothing in ((), (PcrSelection(HashAlg.SHA256, ()),), SELECTION * 2):
        with pytest.raises(ValueError, match="select"):
            quote.read_pcrs(tpm, nothing)
    with pytest.raises(ValueError, match="no PCR"):
        lock.make(tpm, (), Hierarchy.OWNER)


def test_secrets_and_blobs_stay_out_of_what_is_printed() -> None:
    assert "private'" not in repr(SEALED)
    assert "b'private" not in repr(SEALED)
