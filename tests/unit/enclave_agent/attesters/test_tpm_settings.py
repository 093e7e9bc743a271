"""The settings of the attester `tpm`, and what it says of a machine where it cannot be used."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from fakes.tpm_answers import Script, plain, refusal
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.attesters import auto, registry
from sealward.enclave_agent.attesters.port import AttesterUnavailable, ProvesKey, Watches
from sealward.enclave_agent.attesters.tpm import attester, event_log, settings
from sealward.enclave_agent.attesters.tpm.attester import TpmAttester
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrSelection
from sealward.enclave_agent.attesters.tpm.event_log import NoEventLog
from sealward.enclave_agent.attesters.tpm.keys import AttestationKeyKind, EndorsementKeyKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_without_settings_the_kernels_device_and_what_a_boot_measures() -> None:
    chosen = settings.read({})
    assert (chosen.device, chosen.socket) == ("/dev/tpmrm0", None)
    quoted = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14)
    assert chosen.selections == (PcrSelection(HashAlg.SHA256, quoted),)
    assert str(chosen.event_log) == "/sys/kernel/security/tpm0/binary_bios_measurements"
    assert chosen.key is AttestationKeyKind.ECC_P256
    assert chosen.endorsement_key is None


def test_every_setting_is_taken() -> None:
    chosen = settings.read(
        {
            "device": "/dev/tpm0",
            "pcrs": "sha384:0,23+sha256:7",
            "event_log": "/run/log",
            "key": "rsa-2048",
            "endorsement_key": "ecc-p384",
        }
    )
    assert chosen.device == "/dev/tpm0"
    assert chosen.selections == (
        PcrSelection(HashAlg.SHA256, (7,)),
        PcrSelection(HashAlg.SHA384, (0, 23)),
    )
    assert str(chosen.event_log) == "/run/log"
    assert chosen.key is AttestationKeyKind.RSA_2048
    assert chosen.endorsement_key is EndorsementKeyKind.ECC_P384
    assert settings.read({"socket": "127.0.0.1:2321"}).socket == ("127.0.0.1", 2321)
    assert settings.read({"socket": "[::1]:65535"}).socket == ("::1", 65535)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"pcr": "sha256:0"}, "unknown settings: 'pcr'"),
        ({"device": "/dev/tpm0", "socket": "127.0.0.1:1"}, "both device and socket"),
        ({"device": "tpm0"}, "device must be an absolute path"),
        ({"device": "/dev/tpm\0"}, "device must be an absolute path"),
        ({"device": 1}, "device must be text"),
        ({"event_log": ""}, "event_log must be an absolute path"),
        ({"key": "ecc-p384"}, "key must be one of rsa-2048, ecc-p256"),
        ({"key": None}, "key must be text"),
        ({"endorsement_key": ""}, "endorsement_key must be one of"),
        *(
            ({"socket": text}, "socket must be an address of this machine")
            for text in (
                "",
                "127.0.0.1",
                "127.0.0.1:0",
                "127.0.0.1:65536",
                "192.0.2.1:2321",
                "localhost:2321",
                "127.0.0.1:2321 ",
                "[127.0.0.1]:1",
                "::1:2321",
                "999.0.0.1:1",
            )
        ),
        *(
            ({"pcrs": text}, "pcrs must")
            for text in (
                "",
                "sha256",
                "sha256:",
                "sha256:24",
                "sha256:1,0",
                "sha256:1,1",
                "sha256:0-7",
                "md5:0",
                "SHA256:0",
                "sha256:0+sha256:1",
                "sha256:0+",
                "sha256:٣",
            )
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(table: dict[str, object], told: str) -> None:
    with pytest.raises(AttesterUnavailable, match=told) as caught:
        settings.read(table)
    assert str(caught.value).endswith(".")


@given(
    st.dictionaries(
        st.sampled_from(["device", "socket", "pcrs", "event_log", "key", "endorsement_key", "x"]),
        st.one_of(st.text(max_size=30), st.integers(), st.none()),
    )
)
def test_any_table_is_settings_or_refused(table: dict[str, object]) -> None:
    with suppress(AttesterUnavailable):
        settings.read(table)


def test_it_is_an_entry_point_that_auto_never_takes() -> None:
    assert registry.load("tpm", {}).kind == "tpm"
    assert "tpm" not in auto.ORDER


def test_it_proves_its_key_and_watches() -> None:
    tpm = attester.from_settings({})
    assert isinstance(tpm, ProvesKey)
    assert isinstance(tpm, Watches)


def test_a_device_that_is_not_there_is_told_by_probe_and_by_every_use() -> None:
    tpm = attester.from_settings({"device": "/nonexistent/tpm"})
    found = tpm.probe()
    assert not found.available
    assert found.why.startswith("The TPM cannot be used: there is no /nonexistent/tpm")
    assert "CONFIG_TCG_TPM" in found.why
    for use in (tpm.credential_request, lambda: tpm.collect(bytes(64))):
        with pytest.raises(AttesterUnavailable, match="there is no /nonexistent/tpm"):
            use()
    assert tpm.changed() is False, "nothing was attested yet"


def test_a_socket_where_nobody_listens_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        found = attester.from_settings({"socket": f"127.0.0.1:{port}"}).probe()
    assert not found.available
    assert found.why.startswith(f"No TPM at 127.0.0.1:{port}")


def scripted(*answers: bytes) -> TpmAttester:
    @contextmanager
    def connect() -> Iterator[Script]:
        yield script

    script = Script(*answers)
    chosen = settings.read({"event_log": "/nonexistent/log"})
    return TpmAttester(chosen, connect, random_bytes=os.urandom, sleep=time.sleep)


def test_a_tpm_without_any_certificate_is_told_once_all_kinds_were_looked_for() -> None:
    found = scripted(refusal(0x18B)).probe()
    assert not found.available
    assert "holds no certificate of an endorsement key" in found.why
    assert found.why.count(".") == 1


def test_a_tpm_that_fails_is_not_taken_for_one_without_certificate() -> None:
    assert "failure mode" in scripted(refusal(0x101)).probe().why
    assert "cannot be read" in scripted(plain(b"junk")).probe().why


@pytest.mark.parametrize("size", [0, 32, 65])
def test_only_64_bytes_can_be_bound(size: int) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        scripted(refusal(0x101)).collect(bytes(size))


def test_an_event_log_is_read_whole_or_the_reason_told(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with pytest.raises(NoEventLog, match=r"there is no .*securityfs"):
        event_log.read(file)
    file.write_bytes(b"")
    with pytest.raises(NoEventLog, match="is empty"):
        event_log.read(file)
    file.write_bytes(bytes(event_log.MAX_BYTES))
    assert len(event_log.read(file)) == event_log.MAX_BYTES
    file.write_bytes(bytes(event_log.MAX_BYTES + 1))
    with pytest.raises(AttesterUnavailable, match="longer than"):
        event_log.read(file)
    with pytest.raises(NoEventLog, match="gives an error"):
        event_log.read(tmp_path)
