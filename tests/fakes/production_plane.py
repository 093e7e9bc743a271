"""A production installation that did everything to welcome development evidence, but for its root.

Its administrator imported the reference values of development images, allowed development chips and
activated policies that allow everything: so whatever still refuses is the root and nothing else.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from fakes.admin_plane import AppClient
from fakes.control_plane import World, activate, chip, furnish, settings
from fakes.instances import Instance
from fakes.policies import ADMIT_ALL, ALLOW_ALL
from fakes.state import ManualClock

from sealward.controlplane import bootstrap
from sealward.controlplane.adapters.system_clock import SystemClock
from sealward.controlplane.config import Settings
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import PolicyKind

TRUST_DOMAIN = "prod.example"


def production(data: Path) -> Settings:
    """Settings as an operator gives them for production."""
    return settings(data, None, TRUST_DOMAIN)


def pem_file(path: Path, *certificates: bytes) -> Path:
    """Write certificates as a PEM bundle."""
    path.write_text("".join(ssl.DER_cert_to_PEM_cert(der) for der in certificates))
    return path


@contextmanager
def welcoming(folder: Path, endorsements: Path | None = None) -> Iterator[World]:
    """Open one below `folder`."""
    clock = ManualClock(SystemClock().now())
    chosen = replace(production(folder / "plane"), endorsements=endorsements)
    plane = bootstrap.build(chosen, ring=lambda _: None, clock=clock)
    try:
        admin, token = furnish(plane)
        activate(plane, admin, PolicyKind.ENROLLMENT, ADMIT_ALL)
        activate(plane, admin, PolicyKind.RELEASE, ALLOW_ALL)
        yield World(plane=plane, clock=clock, admin=admin, token=token)
    finally:
        plane.close()


def require_refused(here: World, instance: Instance | None = None, *, join_token: str = "") -> str:
    """Try to enrol; return the refusal, which must leave nothing behind."""
    before = here.content(without=("spent_challenges", "attempts"))
    instance = instance or Instance(here.plane.trust, platform=chip())
    with pytest.raises(Refused) as caught:
        instance.enroll(here, join_token=join_token)
    assert caught.value.code is Code.evidence_refused
    assert here.content(without=("spent_challenges", "attempts")) == before
    return caught.value.detail


@contextmanager
def client(here: World) -> Iterator[AppClient]:
    """Open the admin API of an installation."""
    with start_blocking_portal() as portal:
        yield AppClient(here.plane.admin, portal)
