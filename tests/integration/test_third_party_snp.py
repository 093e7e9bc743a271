"""The tools of google/go-sev-guest read the SEV-SNP evidence that the development kit mints.

They never accept a development chain, and that is as it should be: they want the vendor's names in
every certificate, and Go's X.509 does not even parse the marker's OID. So `check` judges reports
and extensions of the same making under the vendor's names, of which our own verifier must know
nothing (tests/scenarios/test_no_path_to_development.py).

What these tools cannot judge: Turin (they know neither FMC, the level that its TCB begins with, nor
its hardware ids of 8 bytes), and a version 2 report of Genoa, whose product name in a VCEK has no
stepping.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import pytest
from conftest import require_part
from fakes import go_sev_guest
from fakes.snp_fixtures import CSP_ID, Minted, mint, root_keys, stream
from fakes.snp_lookalike import bundle, lookalike
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.platform import vcek_platform, vlek_platform
from sealward_devkit.snp import ghcb
from sealward_devkit.snp.hierarchy import mint_hierarchy
from sealward_devkit.snp.products import Product, encode_tcb
from sealward_devkit.snp.report import DEFAULT_POLICY, FirmwareVersion, Patch, SigningKey

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.go_sev_guest import Tools
    from sealward_devkit.platform import Platform

pytestmark = pytest.mark.integration

KEYS = (SigningKey.VCEK, SigningKey.VLEK)
VERSIONS = (2, 3, 4, 5)
SIGNATURE, POLICY = 2, 5  # exit statuses of `check`
REPORT_DATA = bytes(range(64))
HOST_DATA = bytes(range(32))
# CPUID(1).EAX of the first public stepping, as the vendor composes it: extended family and model,
# family, model, stepping (AMD64 APM volume 3, Fn0000_0001_EAX).
FMS = {Product.MILAN: 0x00A00F11, Product.GENOA: 0x00A10F11, Product.TURIN: 0x00B00F21}


@pytest.fixture(scope="session")
def tools() -> Tools:
    found = go_sev_guest.find()
    if found is None:
        require_part(go_sev_guest.missing())
    assert found is not None
    return found


def today() -> Validity:
    """These tools ask the machine's clock."""
    now = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - as above
    return Validity(now - timedelta(hours=1), now + timedelta(days=1))


@cache
def development(product: Product, key: SigningKey) -> Platform:
    """A platform as `sealward-devkit` makes it."""
    hierarchy = mint_hierarchy(product, root_keys(product), today())
    random_bytes = stream(f"{product} {key} read by others")
    if key is SigningKey.VCEK:
        return vcek_platform(hierarchy, random_bytes)
    return vlek_platform(hierarchy, random_bytes, csp_id=CSP_ID)


@cache
def twin(product: Product, key: SigningKey) -> Platform:
    """The same under the vendor's names."""
    return lookalike(product, key, today())


@dataclass(frozen=True)
class Case:
    """Evidence of one platform, and how `check` is told whom to trust."""

    chip: Platform
    folder: Path

    def evidence(self, *patches: Patch, version: int = 5) -> bytes:
        minted = mint(
            self.chip,
            *patches,
            version=version,
            report_data=REPORT_DATA,
            host_data=HOST_DATA,
        )
        return minted.report + table(self.chip, minted)

    def options(self) -> tuple[str, ...]:
        path = self.folder / "bundle.pem"
        path.write_text(bundle(self.chip))
        product = f"-product={self.chip.product}"
        return product, f"-product_key_path={path}", f"-guest_policy={int(DEFAULT_POLICY)}"


def table(chip: Platform, minted: Minted) -> bytes:
    leaf = ghcb.VCEK if chip.signing_key is SigningKey.VCEK else ghcb.VLEK
    return ghcb.mint_certificate_table(
        (ghcb.ARK, minted.root), (ghcb.ASK, minted.intermediate), (leaf, minted.vek)
    )


# Each field has a value of its own, so that none can stand for another.
SAID: dict[str, int | bytes] = {
    "guest_svn": 7,
    "policy": DEFAULT_POLICY | (1 << 8) | 55,
    "vmpl": 1,
    "platform_info": 0x25,
    **{
        name: bytes([number]) * size
        for number, (name, size) in enumerate(
            (
                ("family_id", 16),
                ("image_id", 16),
                ("report_data", 64),
                ("measurement", 48),
                ("host_data", 32),
                ("id_key_digest", 48),
                ("author_key_digest", 48),
                ("report_id", 32),
                ("report_id_ma", 32),
            ),
            start=1,
        )
    },
    "launch_mit_vector": 1,
    "current_mit_vector": 5,
}
FIRMWARE = {
    "current": FirmwareVersion(major=2, minor=57, build=31),
    "committed": FirmwareVersion(major=1, minor=56, build=30),
}
LEVELS = ("current", "reported", "committed", "launch")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("product", Product)
def test_every_field_is_read_where_we_wrote_it(
    tools: Tools, product: Product, key: SigningKey, version: int
) -> None:
    """And what was read is written again as the very same bytes, certificate table included."""
    chip = development(product, key)
    tcbs = {which: replace(chip.tcb, snp=number) for number, which in enumerate(LEVELS)}
    minted = mint(
        chip,
        version=version,
        **SAID,
        **{f"{which}_tcb": encode_tcb(product, tcb) for which, tcb in tcbs.items()},
        **{f"{which}_firmware": said for which, said in FIRMWARE.items()},
    )
    evidence = minted.report + table(chip, minted)
    expected = SAID | {
        "version": version,
        "signature_algo": 1,
        "signer_info": key << 2,
        "cpuid1eax_fms": FMS[product] if version >= 3 else 0,
        "chip_id": chip.chip_id,
        "signature": minted.report[0x2A0:],
        "ask_cert": chip.intermediate,
        "ark_cert": chip.root,
        "vcek_cert" if key is SigningKey.VCEK else "vlek_cert": chip.vek,
    }
    for which, tcb in tcbs.items():
        expected[f"{which}_tcb"] = int.from_bytes(encode_tcb(product, tcb), "little")
    for which, said in FIRMWARE.items():
        expected |= {f"{which}_{name}": value for name, value in asdict(said).items()}
    assert tools.show(evidence) == {name: value for name, value in expected.items() if value != 0}
    assert tools.again(evidence) == evidence


JUDGED = [
    (product, key, version)
    for product in (Product.MILAN, Product.GENOA)
    for key in KEYS
    for version in VERSIONS
    if (product, key, version) != (Product.GENOA, SigningKey.VCEK, 2)
]


@pytest.mark.parametrize(("product", "key", "version"), JUDGED)
def test_signature_and_chain_are_accepted_and_nothing_that_was_changed(
    tools: Tools, tmp_path: Path, product: Product, key: SigningKey, version: int
) -> None:
    """It compares the fields that we state, and refuses one flipped bit of report or leaf."""
    case = Case(twin(product, key), tmp_path)
    expected = (
        *case.options(),
        f"-report_data={REPORT_DATA.hex()}",
        f"-host_data={HOST_DATA.hex()}",
        f"-chip_id={case.chip.chip_id.hex()}",
        f"-measurement={mint(case.chip).report[0x90:0xC0].hex()}",
    )
    evidence = case.evidence(version=version)
    assert tools.check(evidence, *expected) == (0, "")
    # Signed bytes, the report's signature, and that of the leaf certificate, which comes last.
    for offset in (0x50, 0x90, 0x1A0, 0x1F0, 0x2A0, -1):
        flipped = bytearray(evidence)
        flipped[offset] ^= 1
        status, said = tools.check(bytes(flipped), *case.options())
        assert (status, "signature" in said) == (SIGNATURE, True), (offset, said)


def test_a_value_that_is_not_expected_is_refused_by_their_policy(
    tools: Tools, tmp_path: Path
) -> None:
    """The comparison is theirs: so `check` is known to look at what the tests give it."""
    case = Case(twin(Product.MILAN, SigningKey.VCEK), tmp_path)
    status, said = tools.check(case.evidence(), *case.options(), f"-report_data={'00' * 64}")
    assert (status, "REPORT_DATA" in said) == (POLICY, True)


def test_another_root_of_the_same_names_is_not_trusted(tools: Tools, tmp_path: Path) -> None:
    """Neither the vendor's, which they know, nor that of another product under our own keys."""
    case = Case(twin(Product.MILAN, SigningKey.VCEK), tmp_path)
    vendors = tools.check(case.evidence(), "-product=Milan", f"-guest_policy={int(DEFAULT_POLICY)}")
    assert vendors[0] == SIGNATURE
    other = Case(twin(Product.GENOA, SigningKey.VCEK), tmp_path)
    assert tools.check(case.evidence(), *other.options())[0] == SIGNATURE


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("product", Product)
def test_a_development_chain_is_trusted_by_nobody(
    tools: Tools, tmp_path: Path, product: Product, key: SigningKey
) -> None:
    """Not even by whoever gives it as the root to trust."""
    case = Case(development(product, key), tmp_path)
    status, said = tools.check(case.evidence(), *case.options())
    assert status != 0
    assert "could not parse CA bundle" in said


UNJUDGED = [
    *((Product.TURIN, key, 5, "1.3.6.1.4.1.3704.1.3.9") for key in KEYS),
    (Product.GENOA, SigningKey.VCEK, 2, 'unknown product name (new stepping published?): "Genoa"'),
]


@pytest.mark.parametrize("case", UNJUDGED, ids=lambda case: "-".join(map(str, case[:3])))
def test_what_these_tools_cannot_judge_is_known(
    tools: Tools, tmp_path: Path, case: tuple[Product, SigningKey, int, str]
) -> None:
    """If this fails they have learned it: move the case up to those that are judged."""
    product, key, version, why = case
    given = Case(twin(product, key), tmp_path)
    status, said = tools.check(given.evidence(version=version), *given.options())
    assert (status, why in said) == (SIGNATURE, True), said
