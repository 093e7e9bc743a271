"""The settings of one control plane.

One frozen object, made by the command line, read by bootstrap.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import dataclass, fields
from enum import StrEnum, unique
from pathlib import Path
from typing import Final, Self

from sealward.controlplane.domain.records import DEFAULT_TENANT

DEVELOPMENT_LABEL: Final = "development."
_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_PORTS: Final = range(1 << 16)


class InvalidSettings(Exception):
    """Settings that cannot be served; says which, and what to give instead."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens: an IP address and a port, 0 for any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "127.0.0.1:8443" or "[::1]:8443".

        Raises:
            InvalidSettings: anything else.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
            number = int(port)
        except ValueError:
            raise InvalidSettings(
                f"{text!r} is not ADDRESS:PORT, for example 127.0.0.1:8443"
            ) from None
        if number not in _PORTS:
            raise InvalidSettings(f"port {number} is not in 0..65535")
        return cls(host, number)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@unique
class EngineChoice(StrEnum):
    """Where policies are evaluated."""

    EMBEDDED = "embedded"
    OPA = "opa"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaServer:
    """Where an OPA server is, and the PEM files of mutual TLS with it.

    Attributes:
        url: https, or plain http to a loopback address.
        ca: what the server's certificate must come from.
        certificate: what is shown to the server.
        key: its private key, not encrypted.
    """

    url: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def opa_server(
    choice: EngineChoice,
    url: str | None,
    *,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
) -> OpaServer | None:
    """Return the OPA server that was chosen, None for the embedded engine.

    Raises:
        InvalidSettings: it is missing, or given to the embedded engine.
    """
    if choice is EngineChoice.EMBEDDED:
        if any(given is not None for given in (url, ca, certificate, key)):
            raise InvalidSettings("--opa-... options go with --policy-engine opa, and only with it")
        return None
    if url is None:
        raise InvalidSettings("--policy-engine opa needs --opa-url, such as https://127.0.0.1:8181")
    return OpaServer(url=url, ca=ca, certificate=certificate, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollateralServices:
    """Which vendors' services are asked for collateral (docs/collateral.md).

    Attributes:
        amd, intel, intel_root_crl, nvidia_rim: base URLs, https; empty for one that is not asked.
        ca: PEM file that vouches for the services, None for the system's own store.
        joining_per_hour: requests for platforms that join.
        renewals_per_hour: requests for nodes that hold a certificate, and for refreshing.
    """

    amd: str = "https://kdsintf.amd.com"
    intel: str = "https://api.trustedservices.intel.com"
    intel_root_crl: str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
    nvidia_rim: str = "https://rim.attestation.nvidia.com"
    ca: Path | None = None
    joining_per_hour: int = 60
    renewals_per_hour: int = 600

    def __post_init__(self) -> None:
        for url in (self.amd, self.intel, self.intel_root_crl, self.nvidia_rim):
            if url and not url.startswith("https://"):
                raise InvalidSettings(f"{url!r} is not an https URL: give one, or an empty text")
        if min(self.joining_per_hour, self.renewals_per_hour) < 1:
            raise InvalidSettings("a budget of [collateral] is not at least 1 an hour")


def collateral_services(path: Path) -> CollateralServices | None:
    """Read the file of `--collateral-config`; None when it says `fetch = false`, or nothing.

    Raises:
        InvalidSettings: not TOML with one table [collateral], or a member that is not known.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{path.name} is not TOML: {error}") from error
    table = document.get("collateral")
    if not isinstance(table, dict) or document.keys() != {"collateral"}:
        raise InvalidSettings(f"{path.name} does not hold exactly one table, [collateral]")
    fetch = table.pop("fetch", False)
    kinds = {field.name: int if field.name.endswith("_hour") else str for field in _FIELDS}
    for name, value in table.items():
        if type(value) is not kinds.get(name):
            raise InvalidSettings(f"[collateral] {name} is not known, or of another type")
    if not isinstance(fetch, bool):
        raise InvalidSettings("[collateral] fetch is neither true nor false")
    if "ca" in table:
        table["ca"] = path.parent / table["ca"]
    services = CollateralServices(**table)
    return services if fetch else None


_FIELDS: Final = fields(CollateralServices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `sealward serve` was told.

    Attributes:
        data: folder of database, keys and the control plane's own certificates; 0700.
        trust_domain: DNS name; begins with "development." exactly when `development`.
        tenant: the one tenant.
        rest: admin API.
        enrollment: enrolment listener.
        agents: agent listener.
        names: DNS names and addresses that server certificates are valid for.
        development: accept development roots, under all restrictions of F29.
        development_roots: DER or PEM files of development roots.
        endorsements: folder of vendor CA certificates that complete chains, or None.
        decision_threads: threads for decisions.
        policy_deadline_s: longest evaluation of one policy; a shipped one takes a millisecond.
        opa: the OPA server that evaluates policies; None for the embedded engine.
        collateral: which vendors' services are asked; None for an installation that fetches
            nothing.
    """

    data: Path
    trust_domain: str
    tenant: str = DEFAULT_TENANT
    rest: Address
    enrollment: Address
    agents: Address
    names: tuple[str, ...]
    development: bool
    development_roots: tuple[Path, ...] = ()
    endorsements: Path | None = None
    decision_threads: int = 2
    policy_deadline_s: float = 0.2
    opa: OpaServer | None = None
    collateral: CollateralServices | None = None

    def require_one_kind(self) -> None:
        """Refuse what is half production and half development (F29).

        Raises:
            InvalidSettings: with what to change.
        """
        if self.development != self.trust_domain.startswith(DEVELOPMENT_LABEL):
            raise InvalidSettings(
                f"--development goes with a trust domain that begins with {DEVELOPMENT_LABEL!r},"
                " and only with one"
            )
        if self.development_roots and not self.development:
            raise InvalidSettings("development roots are only accepted with --development")

    def require_servable(self, *, listen_anywhere: bool) -> None:
        """Refuse combinations that must never run (F29).

        Args:
            listen_anywhere: the second flag that a development installation needs to listen on an
                address that other machines can reach.

        Raises:
            InvalidSettings: with what to change.
        """
        if _DOMAIN.fullmatch(self.trust_domain) is None:
            raise InvalidSettings("the trust domain is not a lower-case DNS name")
        self.require_one_kind()
        exposed = [a for a in (self.rest, self.enrollment, self.agents) if not a.loopback]
        if self.development and exposed and not listen_anywhere:
            raise InvalidSettings(
                f"a development installation does not listen on {exposed[0]}:"
                " use a loopback address, or add --development-listen-anywhere"
            )
        if not self.names:
            raise InvalidSettings("at least one --name is needed for the server certificate")
