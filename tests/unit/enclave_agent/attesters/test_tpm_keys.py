"""Certificates as makers store them, keys that are not where they use to be, and odd quotes."""

from __future__ import annotations

import pytest
from fakes.tpm_answers import SUCCESS, Script, authorised, plain, refusal, speak

from sealward.enclave_agent.attesters.tpm import codec, keys, quote
from sealward.enclave_agent.attesters.tpm.answers import Loaded
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrSelection
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.keys import EndorsementKeyKind

RSA = EndorsementKeyKind.RSA_2048
CERTIFICATE = b"\x30\x82\x02\x00" + b"c" * 512  # DER by its outermost length, as far as we look
AREA = bytes.fromhex("0023 000b 00050472 0000 0010 0018000b 0003 0010") + bytes(4)
LOADED = Loaded(0x80000001, codec.parse_public(AREA))
SELECTION = PcrSelection(HashAlg.SHA256, (0,))
OWNER_READ, AUTH_READ = 1 << 17, 1 << 18


def nv_public(size: int, *, attributes: int = AUTH_READ, index: int = 0x01C00002) -> bytes:
    area = index.to_bytes(4, "big") + b"\0\x0b" + attributes.to_bytes(4, "big") + b"\0\0"
    return plain(codec.pack(area + size.to_bytes(2, "big")) + codec.pack(b"\0\x0bname"))


def stored(content: bytes, *, attributes: int = AUTH_READ) -> Script:
    """An NV index of this content, read in parts of 512 bytes."""
    parts = [content[at : at + 512] for at in range(0, len(content), 512)]
    return Script(
        nv_public(len(content), attributes=attributes),
        *(authorised(codec.pack(part)) for part in parts),
    )


@pytest.mark.parametrize("padding", [b"", bytes(9), b"\xff" * 700])
def test_a_certificate_is_read_in_parts_and_freed_of_padding(padding: bytes) -> None:
    script = stored(CERTIFICATE + padding)
    assert keys.endorsement_certificate(speak(script), RSA) == CERTIFICATE
    assert script.asked[0] == bytes.fromhex("8001 0000000e 00000169 01c00002")
    rest = len(CERTIFICATE + padding) - 512
    tails = [bytes.fromhex("0200 0000"), min(rest, 512).to_bytes(2, "big") + b"\x02\0"]
    assert [asked[-4:] for asked in script.asked[1:3]] == tails


@pytest.mark.parametrize(
    ("attributes", "authority"),
    [(AUTH_READ, "01c00002"), (AUTH_READ | OWNER_READ, "01c00002"), (OWNER_READ, "40000001")],
)
def test_the_index_authorises_its_reading_where_it_may_and_else_the_owner(
    attributes: int, authority: str
) -> None:
    script = stored(CERTIFICATE, attributes=attributes)
    keys.endorsement_certificate(speak(script), RSA)
    head = bytes.fromhex("8002 00000023 0000014e" + authority + "01c00002")
    assert script.asked[1].startswith(head)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (stored(CERTIFICATE + b"\0more"), "more than a certificate"),
        (stored(CERTIFICATE[:-1]), "holds no certificate"),
        (stored(b"\xff" * 40), "holds no certificate"),
        (Script(nv_public(8193)), "8193 bytes"),
        (Script(nv_public(40, index=0x01C0000A)), "another was asked for"),
        (Script(nv_public(40), authorised(codec.pack(bytes(39)))), "39 bytes of NV memory for 40"),
        (Script(refusal(0x18B)), "holds no certificate of an rsa-2048"),
        (Script(refusal(0x101)), "failure mode"),
    ],
)
def test_what_is_no_certificate_is_a_sentence(script: Script, told: str) -> None:
    with pytest.raises(TpmError, match=told):
        keys.endorsement_certificate(speak(script), RSA)


def test_an_endorsement_key_that_is_not_persistent_is_derived_and_flushed() -> None:
    creation = bytes(2 + 2) + bytes(2 + 4 + 2)
    made = codec.pack(AREA) + creation + codec.pack(LOADED.public.name)
    script = Script(refusal(0x18B), authorised(made, handle=b"\x80\0\0\x02"), SUCCESS)
    with keys.endorsement_key(speak(script), RSA) as endorsement:
        assert endorsement == Loaded(0x80000002, LOADED.public)
    codes = [int.from_bytes(asked[6:10], "big") for asked in script.asked]
    assert codes == [0x173, 0x131, 0x165]


def test_a_tpm_that_fails_is_not_taken_for_one_without_a_persistent_key() -> None:
    script = Script(refusal(0x101))
    with (
        pytest.raises(TpmError, match="failure mode"),
        keys.endorsement_key(speak(script), RSA),
    ):
        pass
    assert len(script.asked) == 1


def pcr_values(selection: PcrSelection) -> bytes:
    digests = [codec.pack(bytes(selection.bank.size)) for _ in selection.indices]
    head = bytes(4) + codec.pack_selections((selection,))
    return plain(head + len(digests).to_bytes(4, "big") + b"".join(digests))


@pytest.mark.parametrize(
    "given",
    [
        PcrSelection(HashAlg.SHA256, ()),
        PcrSelection(HashAlg.SHA256, (1,)),
        PcrSelection(HashAlg.SHA256, (0, 1)),
        PcrSelection(HashAlg.SHA3_256, (0,)),
    ],
)
def test_other_pcrs_than_were_asked_for_are_refused(given: PcrSelection) -> None:
    with pytest.raises(TpmError, match=r"another bank|keeps no PCR 0"):
        quote.read_pcrs(speak(Script(pcr_values(given))), (SELECTION,))


def quoted(nonce: bytes) -> bytes:
    message = b"\xffTCG\x80\x18" + codec.pack(b"") + codec.pack(nonce) + bytes(17 + 8)
    message += codec.pack_selections((SELECTION,))
    message += codec.pack(HashAlg.SHA256.digest(bytes(32)))
    return authorised(codec.pack(message) + bytes.fromhex("0014 000b 0001 01"))


def test_a_quote_over_other_bytes_than_our_nonce_is_refused() -> None:
    def collect(nonce: bytes) -> quote.Quote:
        tpm = speak(Script(pcr_values(SELECTION), quoted(nonce)))
        return quote.collect(tpm, LOADED, (SELECTION,), nonce=bytes(32))

    assert collect(bytes(32)).pcrs[0].values == ((0, bytes(32)),)
    for other in (b"\x01" * 32, b""):
        with pytest.raises(TpmError, match="another nonce"):
            collect(other)


def test_what_is_no_quote_is_a_sentence() -> None:
    answer = authorised(codec.pack(b"\xffTCG\x80\x17") + bytes.fromhex("0014 000b 0001 01"))
    with pytest.raises(TpmError, match="quote cannot be read"):
        quote.collect(
            speak(Script(pcr_values(SELECTION), answer)), LOADED, (SELECTION,), nonce=bytes(32)
        )
