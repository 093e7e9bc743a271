"""SM2 with SM3 verifies what the standard's own example signed, and what another signer signs."""

from __future__ import annotations

import pytest
from fakes import hygon_machines
from hypothesis import given, settings
from hypothesis import strategies as st

from sealward.verifier.pki import sm2
from sealward.verifier.pki.sm2 import PublicKey, Signature
from sealward.verifier.rats.errors import Code, RefusedEvidence

# GB/T 32918.5 annex A.2: the example of a signature on the recommended curve.
KEY = sm2.load_key(
    0x09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020,
    0xCCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13,
    owner="the example",
)
USER_ID = b"1234567812345678"
MESSAGE = b"message digest"
SIGNATURE = Signature(
    0xF5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3,
    0xB1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA,
)
SIGNER = hygon_machines.key("pek")


def signer_key() -> PublicKey:
    return sm2.load_key(*SIGNER.public, owner="the signer")


def test_the_example_of_the_standard_verifies() -> None:
    assert sm2.verifies(KEY, SIGNATURE, MESSAGE, user_id=USER_ID)


def test_one_bit_of_anything_makes_the_example_fail() -> None:
    r, s = SIGNATURE.r, SIGNATURE.s
    for bit in range(0, 256, 5):
        assert not sm2.verifies(KEY, Signature(r ^ 1 << bit, s), MESSAGE, user_id=USER_ID)
        assert not sm2.verifies(KEY, Signature(r, s ^ 1 << bit), MESSAGE, user_id=USER_ID)
    assert not sm2.verifies(KEY, SIGNATURE, MESSAGE + b"\0", user_id=USER_ID)
    assert not sm2.verifies(KEY, SIGNATURE, MESSAGE, user_id=USER_ID[:-1])
    assert not sm2.verifies(signer_key(), SIGNATURE, MESSAGE, user_id=USER_ID)


@pytest.mark.parametrize("r", [0, sm2.N, sm2.N + SIGNATURE.r, SIGNATURE.r - sm2.N])
def test_r_out_of_range_is_refused(r: int) -> None:
    assert not sm2.verifies(KEY, Signature(r, SIGNATURE.s), MESSAGE, user_id=USER_ID)


@pytest.mark.parametrize("s", [0, sm2.N, sm2.N + SIGNATURE.s, sm2.N - SIGNATURE.r, -1])
def test_s_out_of_range_or_opposite_to_r_is_refused(s: int) -> None:
    assert not sm2.verifies(KEY, Signature(SIGNATURE.r, s), MESSAGE, user_id=USER_ID)


@pytest.mark.parametrize(
    ("x", "y"), [(0, 0), (KEY.x, KEY.y ^ 1), (KEY.x + sm2.P, KEY.y), (KEY.x, KEY.y - sm2.P)]
)
def test_a_key_that_is_no_point_of_the_curve_is_refused(x: int, y: int) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        sm2.load_key(x, y, owner="nobody")
    assert caught.value.code is Code.CERTIFICATE_FORBIDDEN


def test_a_user_id_beyond_what_is_hashed_of_its_length_is_the_caller_s_error() -> None:
    assert not sm2.verifies(KEY, SIGNATURE, MESSAGE, user_id=bytes(sm2.MAX_USER_ID))
    with pytest.raises(ValueError, match="at most"):
        sm2.verifies(KEY, SIGNATURE, MESSAGE, user_id=bytes(sm2.MAX_USER_ID + 1))


@settings(max_examples=15, deadline=None)
@given(message=st.binary(max_size=200), other=st.binary(max_size=200))
def test_what_another_signer_signs_verifies_and_for_no_other_message(
    message: bytes, other: bytes
) -> None:
    signature = Signature(*SIGNER.sign(message))
    assert sm2.verifies(signer_key(), signature, message, user_id=SIGNER.user_id)
    if other != message:
        assert not sm2.verifies(signer_key(), signature, other, user_id=SIGNER.user_id)


@pytest.mark.parametrize("secret", [1, 2, 3, sm2.N - 2])
def test_keys_that_are_small_multiples_of_the_base_point_meet_no_exception_of_addition(
    secret: int,
) -> None:
    """Sums of equal and of opposite points come up in the table of multiples."""
    own = hygon_machines.Key(secret, b"id")
    public = sm2.load_key(*own.public, owner="a small key")
    for nonce in (1, 2, 3, 0x10001):
        signature = Signature(*own.sign(MESSAGE, nonce))
        assert sm2.verifies(public, signature, MESSAGE, user_id=b"id")
        assert not sm2.verifies(public, signature, MESSAGE + b"!", user_id=b"id")
