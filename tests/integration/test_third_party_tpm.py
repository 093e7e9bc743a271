"""tpm2-tools accept the quotes that this project makes, and refuse them with one bit flipped.

Quotes come from the agent's attester on a real swtpm, as it sends them, and from the tests' own TPM
made of Python, whose word the verifier's tests take. `tpm2_checkquote` needs no TPM for it.
"""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cbor2
import pytest
from conftest import require_part
from fakes import swtpm
from fakes.software_tpm import ALG, SoftwareTpm, tpm2b

from sealward.enclave_agent.attesters.tpm.attester import from_settings
from sealward.enclave_agent.attesters.tpm.keys import AttestationKeyKind
from sealward.verifier.rats import evidence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.swtpm import Swtpm

pytestmark = pytest.mark.integration

NONCE = bytes(range(32))
BANKS = {
    "sha256": {index: bytes([index]) * 32 for index in range(10)},
    "sha384": {4: b"\x04" * 48},
}
PCRS = ("sha256:0,1,7,14+sha384:0,4", "sha256:0,1,2,3,4,5,6,7,8,9,11,12,13,14")
SOFTWARE = [
    SoftwareTpm(kind=kind, scheme=scheme, banks=banks)
    for kind, scheme in (
        ("rsa2048", ("rsassa", "sha256")),
        ("rsa3072", ("rsassa", "sha384")),
        ("p256", ("ecdsa", "sha256")),
        ("p384", ("ecdsa", "sha384")),
    )
    for banks in (BANKS, {"sha256": BANKS["sha256"]})
]
_DIGESTS_IN_A_LIST = 8


@dataclass(frozen=True)
class Quoted:
    """What `tpm2_checkquote` is given.

    Attributes:
        banks: the quoted values, by name of the bank and index.
    """

    area: bytes
    message: bytes
    signature: bytes
    banks: dict[str, dict[int, bytes]]
    hash: str
    nonce: bytes = NONCE

    def refusal(self, folder: Path) -> str:
        """Return why the tool refuses it, or "" when it accepts."""
        files = {
            "ak.pub": tpm2b(self.area),
            "q.msg": self.message,
            "q.sig": self.signature,
            "q.pcrs": serialized(self.banks),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        command = ["tpm2_checkquote", "-u", "ak.pub", "-m", "q.msg", "-s", "q.sig", "-f", "q.pcrs"]
        command += ["-g", self.hash, "-q", self.nonce.hex()]
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
        return done.stderr.decode() if done.returncode else ""


def serialized(banks: dict[str, dict[int, bytes]]) -> bytes:
    """PCR values as the tools store them: their structures as C keeps them, little-endian.

    Their other form, bare values, they fail to read back for eight PCRs and more (tpm2-tools 5.4).
    """
    selected = struct.pack("<I", len(banks))
    for name, values in banks.items():
        bits = sum(1 << index for index in values)
        selected += struct.pack("<HB4sx", ALG[name], 3, bits.to_bytes(4, "little"))
    digests = [values[index] for values in banks.values() for index in sorted(values)]
    lists = [
        digests[i : i + _DIGESTS_IN_A_LIST] for i in range(0, len(digests), _DIGESTS_IN_A_LIST)
    ]
    stored = b"".join(
        struct.pack("<I", len(some))
        + b"".join(struct.pack("<H64s", len(digest), digest) for digest in some).ljust(528, b"\0")
        for some in lists
    )
    return selected.ljust(132, b"\0") + struct.pack("<I", len(lists)) + stored


def flipped(data: bytes, offset: int) -> bytes:
    changed = bytearray(data)
    changed[offset] ^= 1
    return bytes(changed)


def tampered(quoted: Quoted) -> Iterator[tuple[str, Quoted]]:
    """One bit of each thing that a quote is made of; offsets count from the end where they can."""
    yield "digest of the PCRs", replace(quoted, message=flipped(quoted.message, -1))
    yield (
        "clock",
        replace(quoted, message=flipped(quoted.message, quoted.message.index(NONCE) + 35)),
    )
    yield "signature", replace(quoted, signature=flipped(quoted.signature, -1))
    for name, values in quoted.banks.items():
        for index in values:
            changed = values | {index: flipped(values[index], 0)}
            yield f"{name}:{index}", replace(quoted, banks=quoted.banks | {name: changed})
    yield "key", replace(quoted, area=flipped(quoted.area, -1))
    yield "nonce", replace(quoted, nonce=flipped(NONCE, 0))


def require_judged(quoted: Quoted, folder: Path) -> None:
    """The quote is accepted as it is and refused in every tampered form."""
    assert quoted.refusal(folder) == ""
    for what, other in tampered(quoted):
        assert other.refusal(folder) != "", what


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with swtpm.fresh(tmp_path_factory.mktemp("swtpm")) as running:
        yield running


@pytest.mark.parametrize("kind", AttestationKeyKind)
@pytest.mark.parametrize("pcrs", PCRS)
def test_what_the_attester_sends_is_a_quote_to_others(
    machine: Swtpm, kind: AttestationKeyKind, pcrs: str
) -> None:
    """Message, signature, key and PCR values as they stand in the evidence."""
    machine.extend(14, os.urandom(32))
    attester = from_settings({"socket": f"127.0.0.1:{machine.port}", "key": kind, "pcrs": pcrs})
    record = evidence.decode(attester.collect(NONCE + bytes(32)).cmw)
    assert isinstance(record, evidence.Record)
    sent = cbor2.loads(record.value)  # noqa: TID251 - a second reader, not the one under test
    names = {number: name for name, number in ALG.items()}
    banks = {names[bank]: dict(values) for bank, values in sent[4]}
    quoted = Quoted(area=sent[3], message=sent[1], signature=sent[2], banks=banks, hash="sha256")
    require_judged(quoted, machine.folder)


@pytest.mark.parametrize(
    "tpm", SOFTWARE, ids=lambda tpm: "-".join((tpm.kind, *tpm.scheme, *tpm.banks))
)
def test_what_the_tpm_made_of_python_quotes_is_a_quote_to_others(
    tpm: SoftwareTpm, tmp_path: Path
) -> None:
    """So a test of the verifier with it tests the verifier with a quote."""
    if reason := swtpm.missing():
        require_part(reason)
    message = tpm.message(NONCE)
    quoted = Quoted(tpm.ak_public, message, tpm.sign(message), tpm.banks, tpm.scheme[1])
    require_judged(quoted, tmp_path)


def test_a_pss_signature_is_good_to_a_tpm(machine: Swtpm) -> None:
    """`tpm2_checkquote` 5.4 takes none of RSA-PSS, whatever its salt: so a TPM is asked."""
    tpm = SoftwareTpm(scheme=("rsapss", "sha256"))
    message = tpm.message(NONCE)
    signature = tpm.sign(message)
    files = {"ak.pub": tpm2b(tpm.ak_public), "q.msg": message, "q.sig": signature}
    files["bad.sig"] = flipped(signature, -1)
    for name, content in files.items():
        (machine.folder / name).write_bytes(content)
    machine.tool("tpm2_loadexternal", "-C", "n", "-u", "ak.pub", "-c", "ak.ctx")
    machine.tool("tpm2_flushcontext", "-t")
    verify = ("tpm2_verifysignature", "-c", "ak.ctx", "-g", "sha256", "-m", "q.msg", "-s")
    machine.tool(*verify, "q.sig")
    machine.tool("tpm2_flushcontext", "-t")
    with pytest.raises(AssertionError, match="signature is not valid"):
        machine.tool(*verify, "bad.sig")
    machine.tool("tpm2_flushcontext", "-t")
