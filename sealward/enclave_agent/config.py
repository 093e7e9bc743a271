"""The agent's settings: one TOML file, read once, every mistake reported at the same time.

    workloads = ["invoices"]             # what this node would like to run
    trust_file = "trust.json"            # docs/specs/trust-configuration.md; never optional
    models = "models"                    # folder of sealed files
    join_token_file = "join-token"       # optional, 0600
    result_audience = "https://bank.example"  # optional: keep an attestation result for it

    [control_plane]
    enrollment = "control.example:8444"  # only addresses are free: what is trusted is the root
    agent = "control.example:8445"

    [attester]
    name = "snp"                         # the rest of this table belongs to the attester

    [inference]
    listen = "127.0.0.1:8500"            # another address than loopback needs both files below
    tls_certificate = "server.pem"
    tls_key = "server.key"               # 0600

    [log]
    level = "info"
    format = "json"                      # or "text"

Relative paths are relative to the file. Unknown keys are refused: a misspelt setting is not a
default. There is no setting for state: keys live in memory only, a restart is a new instance.
"""

from __future__ import annotations

import ipaddress
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sealward import telemetry
from sealward.protos.trust import TrustConfiguration
from sealward.verifier.rats.errors import MalformedEvidence

MAX_CONFIG: Final = 65_536
MAX_TRUST: Final = 65_536
MAX_TOKEN: Final = 4_096
MAX_WORKLOADS: Final = 16  # the control plane takes no more in one call
DEFAULT_LISTEN: Final = "127.0.0.1:8500"
FORMATS: Final = ("json", "text")

_TABLES: Final = {
    "": {
        "workloads",
        "trust_file",
        "models",
        "join_token_file",
        "result_audience",
        "control_plane",
        "attester",
        "inference",
        "log",
    },
    "control_plane": {"enrollment", "agent"},
    "inference": {"listen", "tls_certificate", "tls_key"},
    "log": {"level", "format"},
}
_WORKLOAD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_AUDIENCE: Final = re.compile(r"[!-~]{1,256}")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_GROUP_OR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class ConfigurationError(Exception):
    """The settings cannot be used.

    Attributes:
        problems: one sentence each, in the order of the file.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems: Final = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Listen:
    """Where inference is served, and with which TLS files (None on loopback without TLS)."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Everything an operator decides.

    Attributes:
        enrollment: host:port of the enrollment listener.
        agent: host:port of the agent listener.
        trust_file: the measured trust configuration.
        attester: entry point name of the attester.
        attester_table: the attester's own settings.
        workloads: what this node would like to run.
        models: folder of sealed files.
        listen: see `Listen`.
        join_token_file: a 0600 file with a single-use token, or None.
        result_audience: relying party for which attestation results are asked; empty for none.
        log_level: of `sealward.telemetry.LEVELS`.
        log_json: whether log lines are JSON.
    """

    enrollment: str
    agent: str
    trust_file: Path
    attester: str
    attester_table: Mapping[str, object] = field(repr=False)
    workloads: tuple[str, ...]
    models: Path
    listen: Listen
    join_token_file: Path | None
    result_audience: str
    log_level: str
    log_json: bool


def load(path: Path) -> AgentSettings:
    """Read the settings file.

    Raises:
        ConfigurationError: it cannot be read, or any setting in it cannot be used.
    """
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise ConfigurationError((f"{path}: larger than {MAX_CONFIG} bytes.",))
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError((f"{path}: cannot be read: {error.strerror}.",)) from error
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        raise ConfigurationError((f"{path}: not TOML: {error}.",)) from error
    return _Reader(table, path.parent).settings()


def load_trust(path: Path) -> TrustConfiguration:
    """Read the trust configuration. Without one an agent refuses to run (F15).

    Raises:
        ConfigurationError: there is none, or it is not one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRUST + 1)
        return TrustConfiguration.decode(data)
    except OSError as error:
        problem = (
            f"trust_file {path}: cannot be read: {error.strerror}. There is no trust on first use: "
            "put the trust configuration of your control plane there."
        )
    except MalformedEvidence as error:
        problem = f"trust_file {path}: {error.detail}."
    raise ConfigurationError((problem,))


def load_join_token(path: Path) -> str:
    """Read the join token.

    Raises:
        ConfigurationError: no such file, others can read it, or it is not one line of text.
    """
    try:
        if path.stat().st_mode & _GROUP_OR_OTHERS:
            raise ConfigurationError((f"join_token_file {path}: others can read it; chmod 600.",))
        with path.open("rb") as file:
            data = file.read(MAX_TOKEN + 1)
    except OSError as error:
        problem = f"join_token_file {path}: cannot be read: {error.strerror}."
        raise ConfigurationError((problem,)) from error
    token = data.strip()
    if not 0 < len(token) <= MAX_TOKEN or not token.isascii() or not token.decode().isprintable():
        raise ConfigurationError((f"join_token_file {path}: not one line of text.",))
    return token.decode("ascii")


class _Reader:
    """Collects problems while it reads; `settings` raises them together."""

    def __init__(self, table: dict[str, object], folder: Path) -> None:
        self._problems: list[str] = []
        self._folder = folder
        self._root = table
        self._check_names("", table)

    def settings(self) -> AgentSettings:
        plane = self._table("control_plane")
        attester = self._table("attester")
        log = self._table("log")
        settings = AgentSettings(
            enrollment=self._address(plane, "enrollment"),
            agent=self._address(plane, "agent"),
            trust_file=self._path(self._root, "", "trust_file"),
            attester=self._text(attester, "attester", "name"),
            attester_table={key: attester[key] for key in attester if key != "name"},
            workloads=self._workloads(),
            models=self._path(self._root, "", "models"),
            listen=self._listen(self._table("inference")),
            join_token_file=(
                self._path(self._root, "", "join_token_file")
                if "join_token_file" in self._root
                else None
            ),
            result_audience=self._audience(),
            log_level=self._choice(log, "level", telemetry.LEVELS, "info"),
            log_json=self._choice(log, "format", FORMATS, "json") == "json",
        )
        if self._problems:
            raise ConfigurationError(tuple(self._problems))
        return settings

    def _check_names(self, name: str, table: Mapping[str, object]) -> None:
        known = _TABLES.get(name)
        if known is None:  # the attester's own
            return
        where = f"[{name}] " if name else ""
        self._problems += [f"{where}{key}: unknown setting." for key in sorted(set(table) - known)]

    def _table(self, name: str) -> dict[str, object]:
        value = self._root.get(name, {})
        if not isinstance(value, dict):
            self._problems.append(f"{name}: must be a table.")
            return {}
        self._check_names(name, value)
        return value

    def _text(self, table: Mapping[str, object], where: str, key: str) -> str:
        value = table.get(key)
        if isinstance(value, str) and value:
            return value
        self._problems.append(f"{f'[{where}] ' if where else ''}{key}: must be given, as text.")
        return ""

    def _path(self, table: Mapping[str, object], where: str, key: str) -> Path:
        return self._folder / self._text(table, where, key)

    def _choice(
        self, table: Mapping[str, object], key: str, allowed: tuple[str, ...], default: str
    ) -> str:
        value = table.get(key, default)
        if isinstance(value, str) and value in allowed:
            return value
        self._problems.append(f"[log] {key}: must be one of {', '.join(allowed)}.")
        return default

    def _address(self, table: Mapping[str, object], key: str) -> str:
        address = self._text(table, "control_plane", key)
        if address and _split(address, least_port=1) is None:
            self._problems.append(f"[control_plane] {key}: must be host:port.")
        return address

    def _workloads(self) -> tuple[str, ...]:
        value = self._root.get("workloads")
        names = value if isinstance(value, list) else []
        good = [name for name in names if isinstance(name, str) and _WORKLOAD.fullmatch(name)]
        if not good or len(set(good)) != len(names) or len(names) > MAX_WORKLOADS:
            self._problems.append(
                f"workloads: must be a list of 1 to {MAX_WORKLOADS} distinct workload names."
            )
        return tuple(good)

    def _audience(self) -> str:
        if "result_audience" not in self._root:
            return ""
        audience = self._text(self._root, "", "result_audience")
        if audience and _AUDIENCE.fullmatch(audience) is None:
            self._problems.append(
                "result_audience: must be 1 to 256 printable ASCII characters without spaces."
            )
        return audience

    def _listen(self, table: Mapping[str, object]) -> Listen:
        text = table.get("listen", DEFAULT_LISTEN)
        split = _split(text, least_port=0) if isinstance(text, str) else None
        files = [
            self._path(table, "inference", key) if key in table else None
            for key in ("tls_certificate", "tls_key")
        ]
        if (files[0] is None) != (files[1] is None):
            self._problems.append(
                "[inference] tls_certificate and tls_key: give both, or neither on loopback."
            )
        address = None if split is None else _ip(split[0])
        if split is None or address is None:
            self._problems.append("[inference] listen: must be a numeric address and a port.")
            return Listen("", 0)
        if not address.is_loopback and None in files:
            self._problems.append(
                f"[inference] listen: {split[0]} is not loopback; give tls_certificate and tls_key."
            )
        self._check_key(files[1])
        return Listen(*split, certificate=files[0], key=files[1])

    def _check_key(self, path: Path | None) -> None:
        if path is None:
            return
        try:
            if path.stat().st_mode & _GROUP_OR_OTHERS:
                self._problems.append(f"[inference] tls_key: others can read {path}; chmod 600.")
        except OSError as error:
            self._problems.append(f"[inference] tls_key: {path}: {error.strerror}.")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _split(address: str, *, least_port: int) -> tuple[str, int] | None:
    """Return (host without brackets, port), or None when it is not host:port."""
    host, _, port = address.rpartition(":")
    if _HOST.fullmatch(host) is None or not (port.isascii() and port.isdigit() and len(port) <= 5):  # noqa: PLR2004 - digits of 65535
        return None
    number = int(port)
    return (host.strip("[]"), number) if least_port <= number <= 65_535 else None  # noqa: PLR2004 - the highest port
