"""SM2 signatures with SM3: verification alone, over public data, in integers.

Sources: GB/T 32918.2 section 7 (verification), GB/T 32918.5 (the curve), also in
draft-shen-sm2-ecdsa; SM3 is GB/T 32905. `cryptography` has SM3 and no SM2, hence this module. It is
not constant-time and need not be: key, message and signature are public. Nothing here signs.

Numbered procedure of `verifies`, for a key P, signature (r, s) and message M:

    (1) r and s are in 1..n-1;
    (2) Z = SM3(bit length of the user id, user id, a, b, G, P); e = SM3(Z, M);
    (3) t = (r + s) mod n is not 0;
    (4) (x, y) = s G + t P is a point, not the one at infinity;
    (5) r = (e + x) mod n.

A point is (X, Y, Z) in Jacobian coordinates: x = X / Z^2, y = Y / Z^3, and Z = 0 at infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import hashes

from sealward.verifier.rats.errors import Code, RefusedEvidence

# GB/T 32918.5: y^2 = x^3 + ax + b over p with a = p - 3, base point G of prime order n, cofactor 1.
P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G: Final = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
SIZE: Final = 32  # bytes of a coordinate, a scalar and a digest

MAX_USER_ID: Final = 0xFFFF // 8  # its length in bits is hashed as 16 bits

_Point: TypeAlias = tuple[int, int, int]
_INFINITY: Final = (1, 1, 0)
_WINDOW: Final = 2  # bits of both scalars at a time: 16 sums of multiples, made anew for each key
_SUMS: Final = 1 << _WINDOW


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point of the curve; build it with `load_key`."""

    x: int
    y: int

    def encode(self) -> bytes:
        """Return x and y, big-endian, 32 bytes each."""
        return self.x.to_bytes(SIZE, "big") + self.y.to_bytes(SIZE, "big")


@dataclass(frozen=True, slots=True)
class Signature:
    """The two numbers, of any size: `verifies` refuses those out of range."""

    r: int
    s: int


def load_key(x: int, y: int, *, owner: str) -> PublicKey:
    """Return a public key.

    Raises:
        RefusedEvidence: CERTIFICATE_FORBIDDEN when it is no point of the curve.
    """
    if not (0 <= x < P and 0 <= y < P) or (y * y - (x * x * x + A * x + B)) % P:
        raise RefusedEvidence(
            Code.CERTIFICATE_FORBIDDEN, f"the key of {owner} is not a point of the SM2 curve"
        )
    return PublicKey(x, y)


def verifies(key: PublicKey, signature: Signature, message: bytes, *, user_id: bytes) -> bool:
    """Whether a signature is good, by the procedure above.

    Args:
        key: the signer's.
        signature: over `message`, not over a digest of it.
        message: of any length; whoever calls has bounded it.
        user_id: of the signer, at most MAX_USER_ID bytes.

    Raises:
        ValueError: the user id is longer.
    """
    r, s = signature.r, signature.s
    if not (0 < r < N and 0 < s < N):  # (1)
        return False
    e = int.from_bytes(_sm3(_identity(key, user_id) + message), "big")  # (2)
    t = (r + s) % N
    if t == 0:  # (3)
        return False
    x, _, z = _joint(s, t, (key.x, key.y, 1))
    if z == 0:  # (4)
        return False
    return (e + x * pow(z, -2, P) % P) % N == r  # (5)


def _identity(key: PublicKey, user_id: bytes) -> bytes:
    """Return Z: what binds a signature to its signer (GB/T 32918.2 section 5.5)."""
    if len(user_id) > MAX_USER_ID:
        raise ValueError(f"an SM2 user id has at most {MAX_USER_ID} bytes")
    constants = b"".join(number.to_bytes(SIZE, "big") for number in (A, B, *G))
    return _sm3((8 * len(user_id)).to_bytes(2, "big") + user_id + constants + key.encode())


def _sm3(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


def _joint(s: int, t: int, point: _Point) -> _Point:
    """Return s G + t point, both scalars below 2^256: one row of doublings for the two of them."""
    sums = _sums((*G, 1), point)
    found = _INFINITY
    for shift in range(8 * SIZE - _WINDOW, -1, -_WINDOW):
        for _ in range(_WINDOW):
            found = _double(found)
        place = (s >> shift) % _SUMS * _SUMS + (t >> shift) % _SUMS
        if place:
            found = _add(found, sums[place])
    return found


def _sums(first: _Point, second: _Point) -> tuple[_Point, ...]:
    """Return i first + j second for i, j below 4, at 4 i + j."""
    rows: list[_Point] = []
    start = _INFINITY
    for _ in range(_SUMS):
        one = start
        for _ in range(_SUMS):
            rows.append(one)
            one = _add(one, second)
        start = _add(start, first)
    return tuple(rows)


def _double(point: _Point) -> _Point:
    """Return the double, by the formulas for a = -3 ("dbl-2001-b"); infinity stays at Z = 0."""
    x, y, z = point
    delta = z * z % P
    gamma = y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    x3 = (alpha * alpha - 8 * beta) % P
    z3 = 2 * y * z % P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % P, z3


def _add(left: _Point, right: _Point) -> _Point:
    """Return the sum; equal points are doubled, opposite ones give infinity."""
    x1, y1, z1 = left
    x2, y2, z2 = right
    if z1 == 0:
        return right
    if z2 == 0:
        return left
    square1, square2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * square2 % P, x2 * square1 % P
    s1, s2 = y1 * z2 * square2 % P, y2 * z1 * square1 % P
    if u1 == u2:
        return _double(left) if s1 == s2 else _INFINITY
    h, slope = u2 - u1, s2 - s1
    h2 = h * h % P
    h3 = h * h2 % P
    v = u1 * h2 % P
    x3 = (slope * slope - h3 - 2 * v) % P
    return x3, (slope * (v - x3) - s1 * h3) % P, z1 * z2 * h % P
