"""Content keys: wrapped for one model and one key, and nothing shorter or longer is one."""

from __future__ import annotations

import pytest
from fakes.sealed_models import Owner, content

from sealward.sealing import hpke
from sealward.sealing.context import wrap_info
from sealward.sealing.errors import Code, RefusedSealedModel
from sealward.sealing.wrap import (
    Wrap,
    check_commitment,
    commitment,
    unwrap_content_key,
    wrap_content_key,
)

CORE = content(32, "core")
KEY = content(32, "key")


@pytest.mark.parametrize("suite", list(hpke.Suite))
def test_a_key_comes_back_for_its_model_only(suite: hpke.Suite):
    owner = Owner.from_seed("wrap", suite)
    wrap = wrap_content_key(KEY, owner.workload.public, CORE)
    assert unwrap_content_key(wrap, owner.workload_private, CORE) == KEY
    with pytest.raises(RefusedSealedModel) as error:
        unwrap_content_key(wrap, owner.workload_private, content(32, "other core"))
    assert error.value.code is Code.WRAP_REFUSED


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_length_is_no_content_key(owner: Owner, size: int):
    """Anyone can wrap anything to a public key, in the right context too."""
    public = owner.workload.public
    sealed = hpke.seal(public, content(size), wrap_info(CORE))
    wrap = Wrap(key_id=public.key_id, suite=public.suite, ciphertext=sealed)
    with pytest.raises(RefusedSealedModel) as error:
        unwrap_content_key(wrap, owner.workload_private, CORE)
    assert error.value.code is Code.WRAP_REFUSED
    with pytest.raises(ValueError, match="32 bytes"):
        wrap_content_key(content(size), public, CORE)


def test_a_commitment_is_to_one_key_and_one_core():
    committed = commitment(KEY, CORE)
    check_commitment(KEY, CORE, committed)
    for key, core in ((content(32, "other"), CORE), (KEY, content(32, "other"))):
        with pytest.raises(RefusedSealedModel) as error:
            check_commitment(key, core, committed)
        assert error.value.code is Code.CONTENT_KEY_MISMATCH
