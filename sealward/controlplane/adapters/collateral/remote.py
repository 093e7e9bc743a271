"""Vendors' services over HTTPS: AMD's KDS, Intel's PCS v4, NVIDIA's RIM service.

Every answer is bounded in size and time, redirects are not followed, and no proxy is taken from the
environment. What comes back is as untrusted as a file that somebody sends.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

import httpx

from sealward.controlplane.services.collateral_archive import MAX_CONTENT
from sealward.controlplane.services.collateral_fetching import Fetched, FetchFailed
from sealward.verifier.formats.snp.product import Product
from sealward.verifier.formats.snp.vek import VekKind
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, json

TIMEOUT_S: Final = 10.0
_MAX_HEADER: Final = 32 << 10  # an issuer chain of two has 3 KiB, escaped
_TCB_HEADERS: Final = ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain")
_QE_HEADERS: Final = ("SGX-Enclave-Identity-Issuer-Chain", "Enclave-Identity-Issuer-Chain")
_CRL_HEADERS: Final = ("SGX-PCK-CRL-Issuer-Chain",)
# Byte of REPORTED_TCB that each parameter stands at (AMD 57230 section 4; evidence-formats 2).
_MILAN: Final = (("blSPL", 0), ("teeSPL", 1), ("snpSPL", 6), ("ucodeSPL", 7))
_TURIN: Final = (("fmcSPL", 0), ("blSPL", 1), ("teeSPL", 2), ("snpSPL", 3), ("ucodeSPL", 7))
_PARAMETERS: Final = {Product.MILAN: _MILAN, Product.GENOA: _MILAN, Product.TURIN: _TURIN}
_TCB_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUrls:
    """Base URLs, without a slash at the end; None for a service that is not asked."""

    amd: str | None
    intel: str | None
    intel_root_crl: str | None
    nvidia_rim: str | None


class VendorServices:
    """services.collateral_fetching.Remote."""

    def __init__(self, urls: ServiceUrls, *, tls: ssl.SSLContext) -> None:
        """Make one; `tls` verifies servers. `close` it when done."""
        self._urls = urls
        self._http = httpx.Client(
            verify=tls, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False
        )

    def publishes(self, key: Key) -> bool:
        """Whether a configured service publishes such a piece."""
        return self._url(key) is not None

    def renews(self) -> frozenset[Kind]:
        """Return the kinds that a configured service publishes."""
        urls = self._urls
        return frozenset(
            kind
            for kind, url in (
                (Kind.AMD_CRL, urls.amd),
                (Kind.INTEL_TCB_INFO, urls.intel),
                (Kind.INTEL_QE_IDENTITY, urls.intel),
                (Kind.INTEL_PCK_CRL, urls.intel),
                (Kind.INTEL_ROOT_CRL, urls.intel_root_crl),
                (Kind.NVIDIA_RIM, urls.nvidia_rim),
            )
            if url is not None
        )

    def fetch(self, key: Key) -> Fetched:
        """Return a piece; FetchFailed."""
        url = self._url(key)
        if url is None:
            raise FetchFailed("no service that publishes it is configured")
        body, headers = self._get(url)
        match key.kind:
            case Kind.INTEL_TCB_INFO:
                return Fetched(body, _chain(headers, _TCB_HEADERS))
            case Kind.INTEL_QE_IDENTITY:
                return Fetched(body, _chain(headers, _QE_HEADERS))
            case Kind.INTEL_PCK_CRL:
                return Fetched(body, _chain(headers, _CRL_HEADERS))
            case Kind.NVIDIA_RIM:
                return Fetched(_manifest(body))
            case _:
                return Fetched(body)

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _url(self, key: Key) -> str | None:
        urls = self._urls
        match key.kind:
            case Kind.AMD_VEK | Kind.AMD_CHAIN | Kind.AMD_CRL:
                return None if urls.amd is None else _amd(urls.amd, key)
            case Kind.INTEL_TCB_INFO | Kind.INTEL_QE_IDENTITY | Kind.INTEL_PCK_CRL:
                return None if urls.intel is None else _intel(urls.intel, key)
            case Kind.INTEL_ROOT_CRL:
                return urls.intel_root_crl
            case Kind.NVIDIA_RIM:
                base = urls.nvidia_rim
                return None if base is None else f"{base}/v1/rim/{quote(key.name, safe='')}"
            case Kind.NVIDIA_OCSP:
                return None  # a request names the certificate's issuer, which the key does not

    def _get(self, url: str) -> tuple[bytes, httpx.Headers]:
        try:
            with self._http.stream("GET", url) as response:
                if response.status_code != httpx.codes.OK:
                    raise FetchFailed(f"{url} answered {response.status_code}")
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_CONTENT:
                        raise FetchFailed(f"{url} answered more than {MAX_CONTENT} bytes")
                return bytes(body), response.headers
        except httpx.HTTPError as error:
            raise FetchFailed(f"{url}: {str(error) or type(error).__name__}") from error


def _amd(base: str, key: Key) -> str | None:
    """Return the URL of a VCEK, a chain or a list; None for a name of nothing that AMD has."""
    if key.kind is not Kind.AMD_VEK:
        line, _, kind = key.name.partition("/")
        if kind not in {one.value for one in VekKind}:
            return None
        file = "cert_chain" if key.kind is Kind.AMD_CHAIN else "crl"
        return f"{base}/{kind}/v1/{quote(line, safe='')}/{file}"
    line, _, rest = key.name.partition("/")
    chip, _, tcb = rest.partition("/")
    levels = bytes.fromhex(tcb)
    if len(levels) != _TCB_BYTES:
        return None
    query = "&".join(f"{name}={levels[at]:02d}" for name, at in _PARAMETERS[Product(line)])
    return f"{base}/vcek/v1/{line}/{chip}?{query}"


def _intel(base: str, key: Key) -> str:
    if key.kind is Kind.INTEL_PCK_CRL:
        ca = quote(key.name, safe="")
        return f"{base}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der"
    tee, _, fmspc = key.name.partition("/")
    if key.kind is Kind.INTEL_QE_IDENTITY:
        return f"{base}/{quote(tee, safe='')}/certification/v4/qe/identity"
    return f"{base}/{quote(tee, safe='')}/certification/v4/tcb?fmspc={quote(fmspc, safe='')}"


def _chain(headers: httpx.Headers, names: tuple[str, ...]) -> bytes:
    """Return the PEM chain of a URL-escaped header; FetchFailed."""
    for name in names:
        escaped = headers.get(name)
        if escaped is not None and len(escaped) <= _MAX_HEADER:
            return unquote(escaped).encode("ascii", "replace")
    raise FetchFailed(f"the answer has no header {names[0]}")


def _manifest(body: bytes) -> bytes:
    """Return the manifest in the service's answer, {"id": ..., "rim": base64, ...}; FetchFailed."""
    if body.startswith(b"<"):
        return body
    try:
        answer = json.decode(body, what="RIM service's answer", max_bytes=MAX_CONTENT)
        text = answer.get("rim") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise FetchFailed("the RIM service's answer holds no manifest")
        return base64.decode(text, what="RIM", max_bytes=MAX_CONTENT)
    except MalformedEvidence as error:
        raise FetchFailed(error.detail) from error
