"""The admin API as remote commands see it: HTTPS to one server, nothing else."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import httpx

from sealward.controlplane.cli import credentials as credential_files
from sealward.controlplane.cli.terminal import Failure, write_fields, write_json, write_table
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024  # a page of 1,000 explained decisions stays far below
_TIMEOUT_SECONDS: Final = 60.0  # an upload waits for the policy's tests
_PAGE: Final = 1000

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Remote:
    """One connection for one command, and how it shows what it got."""

    http: httpx.Client
    server: str
    ca: str  # PEM
    as_json: bool

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401 - JSON
        """Return the decoded answer to a GET."""
        return _decoded(self.call("GET", path, query=query))

    def send(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Item:
        """Send a JSON body and return the decoded answer."""
        answer = _decoded(self.call(method, path, json=body))
        if not isinstance(answer, dict):
            raise Failure("the server's answer is not an object", _NOT_SEALWARD)
        return answer

    def upload(self, path: str, content: bytes, media_type: str, **query: object) -> Item:
        """Send bytes as they are and return the decoded answer."""
        response = self.call(
            "POST", path, query=query, content=content, headers={"Content-Type": media_type}
        )
        answer = _decoded(response)
        if not isinstance(answer, dict):
            raise Failure("the server's answer is not an object", _NOT_SEALWARD)
        return answer

    def download(self, path: str) -> bytes:
        """Return the bytes of an answer."""
        return self.call("GET", path).content

    def items(self, path: str, **query: object) -> Iterator[Item]:
        """Follow a list to its end."""
        after: str | None = None
        while True:
            page = self.get(path, limit=_PAGE, after=after, **query)
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise Failure("the server's answer is not a page", _NOT_SEALWARD)
            yield from page["items"]
            after = page.get("after")
            if after is None:
                return

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        **how: Any,  # noqa: ANN401 - httpx
    ) -> httpx.Response:
        """Make one request and return its answer when it is a success.

        Raises:
            Failure: the server refused, or did not answer.
        """
        try:
            response = self.http.request(method, path, params=_query(query or {}), **how)
        except httpx.HTTPError as error:
            raise unreachable(self.http, error) from None
        if response.is_success:
            return response
        raise _refusal(response)

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """Yield the bytes of a long answer as they come.

        Raises:
            Failure: the server refused, or broke off.
        """
        try:
            with self.http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield response.iter_bytes()
        except httpx.HTTPError as error:
            raise unreachable(self.http, error) from None

    def show(self, item: Item, names: Mapping[str, str]) -> None:
        """Print one item: whole as JSON, or the named members one a line."""
        if self.as_json:
            write_json(item)
        else:
            write_fields((title, item.get(name)) for name, title in names.items())

    def show_list(self, items: Iterator[Item], names: Mapping[str, str]) -> None:
        """Print items: whole as JSON, or the named members as a table."""
        if self.as_json:
            write_json(list(items))
        else:
            write_table(
                tuple(names.values()), ([item.get(name) for name in names] for item in items)
            )


_NOT_SEALWARD: Final = "check that --server names a Sealward control plane of this version"


def remote(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every remote command, and a Remote as first argument."""

    @click.option("--server", envvar="SEALWARD_SERVER", help="Base URL, https://HOST:PORT.")
    @click.option(
        "--ca",
        envvar="SEALWARD_CA",
        type=click.Path(path_type=Path, dir_okay=False),
        help="PEM file of the root that vouches for the server.",
    )
    @click.option(
        "--credentials",
        envvar="SEALWARD_CREDENTIALS",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Credentials file [default: ~/.config/sealward/credentials.json].",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
    @functools.wraps(command)
    def run(
        *,
        server: str | None,
        ca: Path | None,
        credentials: Path | None,
        as_json: bool,
        **arguments: Any,  # noqa: ANN401 - the command's own
    ) -> None:
        found = credential_files.load(credentials or credential_files.default_path())
        with connect(
            server or found.server,
            read_ca(ca) if ca is not None else found.ca,
            found.token,
            as_json=as_json,
        ) as plane:
            command(plane, **arguments)

    return run


@contextmanager
def connect(server: str, ca: str, token: str, *, as_json: bool) -> Iterator[Remote]:
    """Open a connection that trusts exactly this CA.

    Raises:
        Failure: the address is not https, or the CA is not PEM.
    """
    if not server.startswith("https://"):
        raise Failure("the server's address is not https", "give --server https://HOST:PORT")
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise Failure("the CA is not a PEM certificate", "give --ca FILE") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with httpx.Client(
        base_url=server,
        verify=context,
        headers={"Authorization": f"Bearer {token}"},
        timeout=_TIMEOUT_SECONDS,
        trust_env=False,  # a proxy from the environment would be handed the token's destination
    ) as http:
        yield Remote(http, server, ca, as_json)


def read_ca(path: Path) -> str:
    """Return the text of a PEM file.

    Raises:
        Failure: it cannot be read.
    """
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise Failure(f"cannot read the CA file {path}", "give a PEM file with --ca") from None


def unreachable(http: httpx.Client, error: httpx.HTTPError) -> Failure:
    """Return what to say when there was no answer."""
    return Failure(
        f"no answer from {http.base_url}: {str(error) or type(error).__name__}",
        "check --server and --ca, and that the control plane runs",
    )


def segment(text: str) -> str:
    """Return one part of a path, whatever an administrator typed."""
    if text in {"", ".", ".."}:  # the only parts that quoting does not keep apart
        raise click.UsageError(f"{text!r} is not the name of anything")
    return quote(text, safe="")


def _query(query: Mapping[str, object]) -> dict[str, str]:
    texts = {True: "true", False: "false"}
    return {
        name: texts[value] if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _refusal(response: httpx.Response) -> Failure:
    """Return what a problem document says, or what can be said without one."""
    try:
        problem = json.decode(response.content, what="answer", max_bytes=MAX_ANSWER_BYTES)
    except MalformedEvidence:
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
        return Failure(f"the server answered {response.status_code}", _NOT_SEALWARD)
    sentence = f"{problem['code']}: {problem.get('detail', '')}"
    hint = problem.get("hint")
    if not isinstance(hint, str):
        hint = f"the control plane's log knows it as {problem.get('correlation_id')}"
    return Failure(sentence, hint)


def _decoded(response: httpx.Response) -> json.Value:
    try:
        return json.decode(response.content, what="answer", max_bytes=MAX_ANSWER_BYTES)
    except MalformedEvidence as error:
        raise Failure(f"the server's {error.detail}", _NOT_SEALWARD) from None
