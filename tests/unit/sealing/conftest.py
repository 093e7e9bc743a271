"""One owner and one small sealed file for the whole session."""

from __future__ import annotations

import pytest
from fakes.sealed_models import Owner, content


@pytest.fixture(scope="session")
def owner() -> Owner:
    return Owner.from_seed("owner")


@pytest.fixture(scope="session")
def parts() -> tuple[bytes, bytes, bytes]:
    """Weights over two segments, then two parts that share the second one's end and a third."""
    return content(5000), content(300, "tensors"), content(4000, "skeleton")


@pytest.fixture(scope="session")
def sealed(owner: Owner, parts: tuple[bytes, bytes, bytes]) -> bytes:
    return owner.seal(*parts)
