"""Entries of every template read as the kernel meant them, and nothing else reads."""

from __future__ import annotations

import hashlib
import struct

import pytest
from fakes.ima_kernel import ImaKernel, d_ng, name, sized

from sealward.verifier.formats.ima import measurements, templates
from sealward.verifier.formats.ima.templates import Reading
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.runtime_log import Kind
from sealward.verifier.wire.tcg_hash import HashAlg

DIGEST = bytes(range(32))
PLAIN = Reading("/bin/sh", "sha256", DIGEST, Kind.FILE)
SIGNED = Reading("/bin/sh", "sha256", DIGEST, Kind.FILE, b"signature")
VERITY = d_ng(DIGEST, "verity:sha256")

# Template digests that kernels wrote, as they stand in public documents and test suites.
REAL = {
    "4c9db981f2dbc5b41727497f9d758fe950dcf6a2": (
        (b"ima-ng", "9299e7059f2f263cc89a5561e2cf5887cc98309b", "boot_aggregate", None)
    ),
    "7936eb315fb4e74b99e7d461bc5c96049e1ee092": (
        (b"ima-ng", "bc026ae66d81713e4e852465e980784dc96651f8", "/usr/lib/systemd/systemd", None)
    ),
    "d7026dc672344d3ee372217bdbc7395947788671": (
        (b"ima", "6f66d1d8e2fffcc12dfcb78c04b81fe5b8bbae4e", "/usr/bin/kmod", None)
    ),
    "0c8a706a75a5689c1e168f0a573a3cbec33061b5": (
        b"ima-sig",
        "e4cb9f5709c88376b5fc3743cd88e76b9aae8f3d992d845678de5215edb31216",
        "boot_aggregate",
        "",
    ),
    "5d4d5141ccd5066d50dc3f21d79ba02fedc24256": (
        b"ima-sig",
        "b8ae0b8dd04a5935cd8165aa2260cd11b658bd71629bdb52256a675a1f73907b",
        "/usr/bin/zmore",
        (
            "030204531f402500483046022100fe24678d21083ead47660e1a2d553a592d777c478d1b0466de6ed484"
            "b54956b3022100cad3adb37f277bbb03544d6107751b4cd4f2289d8353fa36257400a99334d5c3"
        ),
    ),
}


def only(kernel: ImaKernel, template_hash: str = "sha1") -> measurements.Entry:
    data = kernel.runtime_measurements(template_hash)
    (entry,) = measurements.parse(data, HashAlg[template_hash.upper()])
    return entry


@pytest.mark.parametrize(
    ("template", "fields", "meant"),
    [
        (b"ima-ng", (d_ng(DIGEST), name("/bin/sh")), PLAIN),
        (b"ima-sig", (d_ng(DIGEST), name("/bin/sh"), b""), PLAIN),
        (b"ima-sig", (d_ng(DIGEST), name("/bin/sh"), b"signature"), SIGNED),
        (b"ima-ngv2", (d_ng(DIGEST, "ima:sha256"), name("/bin/sh")), PLAIN),
        (
            b"ima-sigv2",
            (VERITY, name("/bin/sh"), b"signature"),
            Reading("/bin/sh", "verity:sha256", DIGEST, Kind.FILE, b"signature"),
        ),
        (
            b"ima-buf",
            (d_ng(DIGEST), name("kexec-cmdline"), b"root=/dev/sda"),
            Reading("kexec-cmdline", "sha256", DIGEST, Kind.BUFFER),
        ),
        (b"ima-modsig", (d_ng(DIGEST), name("/bin/sh"), b"", d_ng(DIGEST), b"PKCS#7"), PLAIN),
        (b"evm-sig", (d_ng(DIGEST), name("/bin/sh"), *[b"x"] * 7), PLAIN),
        (b"d-ng|n-ng|imode", (d_ng(DIGEST), name("/bin/sh"), b"\xed\x81"), PLAIN),
        (
            b"d|n",
            (DIGEST[:20], name("/bin/sh")),
            Reading("/bin/sh", "sha1", DIGEST[:20], Kind.FILE),
        ),
    ],
    ids=[
        *("ima-ng", "ima-sig", "ima-sig-signed", "ima-ngv2", "ima-sigv2", "ima-buf", "ima-modsig"),
        *("evm-sig", "format", "first-fields"),
    ],
)
@pytest.mark.parametrize("template_hash", ["sha1", "sha256", "sha384"])
def test_an_entry_of_every_template_says_what_the_kernel_meant(
    template: bytes, fields: tuple[bytes, ...], meant: Reading, template_hash: str
) -> None:
    kernel = ImaKernel()
    kernel.append(template, *fields)
    entry = only(kernel, template_hash)
    assert (entry.register, entry.template, entry.reading) == (10, template, meant)
    for bank in (HashAlg.SHA1, HashAlg.SHA256, HashAlg.SHA384):
        assert entry.extends(bank) == hashlib.new(bank.label, b"".join(map(sized, fields))).digest()


@pytest.mark.parametrize("template_digest", REAL)
def test_entries_that_real_kernels_wrote_have_their_template_digests(template_digest: str) -> None:
    template, digest, path, signed = REAL[template_digest]
    kernel = ImaKernel()
    raw = bytes.fromhex(digest)
    if template == b"ima":
        kernel.append_first(path, raw)
    else:
        more = () if signed is None else (bytes.fromhex(signed),)
        kernel.append(template, d_ng(raw, {20: "sha1", 32: "sha256"}[len(raw)]), name(path), *more)
    entry = only(kernel)
    assert entry.digest.hex() == template_digest
    assert entry.extends(HashAlg.SHA1) == entry.digest
    assert entry.reading is not None
    assert entry.reading == Reading(
        path, entry.reading.algorithm, raw, Kind.FILE, bytes.fromhex(signed or "")
    )


@pytest.mark.parametrize("digest_size", [20, 32])
def test_a_violation_extends_ones_and_says_nothing(digest_size: int) -> None:
    kernel = ImaKernel()
    kernel.violate("/var/log/wtmp", digest_size=digest_size)
    entry = only(kernel)
    assert entry.reading is None
    assert entry.extends(HashAlg.SHA256) == b"\xff" * 32


def test_names_are_shown_as_text_whatever_their_bytes_are() -> None:
    assert templates.text(b"/srv/\xff\n\xed\xa0\x80") == "/srv/\\xff\n\\xed\\xa0\\x80"
    assert templates.text("/srv/Ü".encode()) == "/srv/Ü"


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        (b"ima-none", (d_ng(DIGEST), name("/a"))),
        (b"d-ng|n-ng|n-ng", (d_ng(DIGEST), name("/a"), name("/a"))),
        (b"d-ng", (d_ng(DIGEST),)),
        (b"d-ng|d|n-ng", (d_ng(DIGEST), DIGEST[:20], name("/a"))),
        (b"n-ng|sig", (name("/a"), b"")),
        (b"ima-ng", (d_ng(DIGEST), name("/a"), b"")),
        (b"ima-sig", (d_ng(DIGEST), name("/a"))),
        (b"ima-ng", (d_ng(DIGEST[1:]), name("/a"))),
        (b"ima-ng", (d_ng(DIGEST, "sha257"), name("/a"))),
        (b"ima-ng", (b"sha256:" + DIGEST, name("/a"))),
        (b"ima-ngv2", (d_ng(DIGEST), name("/a"))),
        (b"ima-ngv2", (d_ng(DIGEST, "other:sha256"), name("/a"))),
        (b"d|n", (DIGEST, name("/a"))),
        (b"ima-ng", (d_ng(DIGEST), b"/a")),
        (b"ima-ng", (d_ng(DIGEST), b"")),
        (b"ima-ng", (d_ng(DIGEST), name("/a\0b"))),
        (b"ima-ng", (d_ng(DIGEST), name("/" + "a" * templates.MAX_PATH))),
        (b"ima-buf", (d_ng(DIGEST), name("x"), bytes(measurements.MAX_DATA_BYTES))),
        (b"x" * (templates.MAX_NAME + 1), (d_ng(DIGEST), name("/a"))),
    ],
)
def test_an_entry_outside_its_template_is_malformed(
    template: bytes, fields: tuple[bytes, ...]
) -> None:
    kernel = ImaKernel()
    kernel.append(template, *fields)
    with pytest.raises(MalformedEvidence):
        only(kernel)


def test_an_entry_whose_digest_is_not_that_of_its_data_is_malformed() -> None:
    kernel = ImaKernel()
    kernel.measure("/bin/sh", b"#!")
    data = bytearray(kernel.runtime_measurements())
    data[4] ^= 1
    with pytest.raises(MalformedEvidence, match="not that of its data"):
        measurements.parse(bytes(data))
    with pytest.raises(MalformedEvidence):
        measurements.parse(kernel.runtime_measurements("sha256"))  # read as the list of SHA-1


@pytest.mark.parametrize("path", ["x" * 256, "/a\0b"])
def test_a_name_of_the_first_template_is_short_and_holds_no_nul(path: str) -> None:
    kernel = ImaKernel()
    kernel.append_first(path, DIGEST[:20])
    with pytest.raises(MalformedEvidence):
        only(kernel)


def test_a_list_is_whole_entries_within_the_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = ImaKernel()
    for path in ("/a", "/b"):
        kernel.measure(path, b"x")
    data = kernel.runtime_measurements()
    for wrong in (data[:-1], data + b"\n", data + struct.pack("<I", 10)):
        with pytest.raises(MalformedEvidence):
            measurements.parse(wrong)
    assert measurements.parse(b"") == ()
    monkeypatch.setattr(measurements, "MAX_ENTRIES", 1)
    with pytest.raises(MalformedEvidence, match="more than 1 entries"):
        measurements.parse(data)
    monkeypatch.setattr(measurements, "MAX_LIST_BYTES", len(data) - 1)
    with pytest.raises(MalformedEvidence, match="at most"):
        measurements.parse(data)
