"""Our published vectors: the code agrees with each outcome, and the script still makes them."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sealward.sealing import context, hpke
from sealward.sealing.container import SealedModel
from sealward.sealing.errors import Code, SealedModelError
from sealward.sealing.signing import CreatorPublicKey
from sealward.sealing.source import BytesSource
from sealward.sealing.wrap import unwrap_content_key
from sealward.verifier.wire import base64, json

FOLDER = Path(__file__).resolve().parents[3] / "docs/specs/vectors"


@cache
def published() -> Any:  # noqa: ANN401 - a JSON document
    data = (FOLDER / "sealed-model-v0.json").read_bytes()
    return json.decode(data, what="vectors", max_bytes=1 << 20)


@cache
def made_now() -> Any:  # noqa: ANN401 - a JSON document
    path = FOLDER / "make_sealed_model_v0.py"
    spec = importlib.util.spec_from_file_location("make_sealed_model_v0", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


def edited(data: bytes, edits: list[Any]) -> bytes:
    buffer = bytearray(data)
    for edit in edits:
        match edit["op"]:
            case "xor":
                buffer[edit["at"]] ^= edit["mask"]
            case "truncate":
                del buffer[edit["to"] :]
            case "append":
                buffer += bytes.fromhex(edit["hex"])
            case "replace":
                old, new = edit["old"].encode(), edit["new"].encode()
                assert old in buffer
                assert len(old) == len(new)
                buffer = buffer.replace(old, new, 1)
            case "overwrite":
                new = base64.decode(edit["base64"], what="edit", max_bytes=1 << 16)
                buffer[edit["at"] : edit["at"] + len(new)] = new
            case other:
                pytest.fail(f"unknown edit {other}")
    return bytes(buffer)


def outcome(vectors: Any, case: Any) -> str | dict[str, str]:  # noqa: ANN401 - JSON documents
    """Do section 6 of the specification in its order."""
    file = base64.decode(vectors["files"][case["file"]]["file"], what="file", max_bytes=1 << 20)
    creator = base64.decode(vectors["creators"][case["creator"]], what="key", max_bytes=4096)
    private = bytes.fromhex(vectors["workload_private_keys"][case["workload_key"]])
    try:
        model = SealedModel.open(BytesSource(edited(file, case["edits"])))
        model.verify_signatures(CreatorPublicKey.decode(creator))
        model.verify_digests()
        key = hpke.PrivateKey.decode(private)
        wrap = model.header.wrap_for(key.public.key_id)
        content_key = unwrap_content_key(wrap, key, model.core_digest)
        parts = {}
        for part in model.parts:
            plain = bytearray(part.length)
            model.decrypt_part_into(content_key, part.name, memoryview(plain))
            parts[str(part.name)] = hashlib.sha256(plain).hexdigest()
    except SealedModelError as error:
        return str(error.code)
    return parts


@pytest.mark.parametrize("vectors", [published, made_now])
def test_every_case_has_its_declared_outcome(vectors: Any):  # noqa: ANN401 - a JSON document
    document = vectors()
    assert len(document["cases"]) >= 20
    for case in document["cases"]:
        expected = case["outcome"]
        if expected == "opens":
            expected = document["files"][case["file"]]["parts"]
        assert outcome(document, case) == expected, case["name"]


def test_intermediate_values_are_as_published():
    """Another implementation that differs finds out at which step."""
    for file in published()["files"].values():
        data = base64.decode(file["file"], what="file", max_bytes=1 << 20)
        model = SealedModel.open(BytesSource(data))
        assert model.core_digest.hex() == file["core_digest"]
        assert model.header_digest.hex() == file["header_digest"]
        assert model.header.body_offset == file["body_offset"]
        assert context.wrap_info(model.core_digest).hex() == file["wrap_info"]
        assert model.header.commitment.hex() == file["commitment"]
        model.header.check_content_key(bytes.fromhex(file["content_key"]))


def test_the_published_cases_are_those_of_the_script():
    """A case added to the script but not published, or the reverse, fails here."""
    assert [case["name"] for case in published()["cases"]] == [
        case["name"] for case in made_now()["cases"]
    ]


def test_the_specification_lists_exactly_the_codes_there_are():
    text = (FOLDER.parent / "sealed-model.md").read_text()
    section = text.partition("## 8. Refusals")[2].partition("## 9.")[0]
    listed = {
        code.strip(" `")
        for row in section.splitlines()
        if row.startswith("| `")
        for code in row.split("|")[1].split(",")
    }
    assert listed == {str(code) for code in Code}
