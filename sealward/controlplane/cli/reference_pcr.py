"""`sealward reference pcr`: the boot of a machine that was reviewed, as a reference set.

Nothing is verified here: the values are those of the file, and what the file is worth is what the
machine it was made on is worth. The control plane reads the document again when it is imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from sealward.controlplane.cli.terminal import Failure, write_json, write_table
from sealward.controlplane.domain import boots
from sealward.controlplane.domain.boots import PCR_BANKS, Register
from sealward.controlplane.domain.reference_values import COMPONENTS
from sealward.verifier import registry
from sealward.verifier.formats.tpm import evidence, pcr_file
from sealward.verifier.formats.tpm.pcr import PCR_COUNT, PcrBank, PcrSelection, split_raw
from sealward.verifier.rats.errors import VerifierError
from sealward.verifier.registry.tpm import TpmRole

_BANKS: Final = {bank.label: bank for bank in PCR_BANKS}
_INDEX_DIGITS: Final = 2
_USUAL_PCRS: Final = 24  # that a selection of `tpm2_pcrread` can name


def _selection(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> PcrSelection | None:
    """Read BANK:INDEX,... as tpm2-tools write it."""
    if value is None:
        return None
    bank, _, listed = value.partition(":")
    indices = tuple(_index(item) for item in listed.split(","))
    known = all(index in range(_USUAL_PCRS) for index in indices)
    if bank not in _BANKS or not known or len(set(indices)) != len(indices):
        raise click.BadParameter("not BANK:INDEX,... as sha256:0,1,2,3,4,5,6,7", ctx, param)
    return PcrSelection.of(_BANKS[bank], indices)


def _components(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[int, list[str]]:
    """Read INDEX=COMPONENT, in the order of the chain."""
    found: dict[int, set[str]] = {}
    for value in values:
        index, _, component = value.partition("=")
        if _index(index) not in range(PCR_COUNT) or component not in COMPONENTS:
            raise click.BadParameter(f"not INDEX=one of {', '.join(COMPONENTS)}", ctx, param)
        found.setdefault(_index(index), set()).add(component)
    return {index: [one for one in COMPONENTS if one in named] for index, named in found.items()}


def _index(text: str) -> int:
    """Return the number of a register, -1 for what is none."""
    return int(text) if text.isdecimal() and len(text) <= _INDEX_DIGITS else -1


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the reference set.")
@click.option(
    "--pcrs",
    "selection",
    callback=_selection,
    metavar="BANK:INDEX,...",
    help="FILE holds bare values, as `tpm2_pcrread BANK:INDEX,... -o FILE` writes them.",
)
@click.option(
    "--component",
    "components",
    multiple=True,
    callback=_components,
    metavar="INDEX=COMPONENT",
    help=f"What this register covers: {', '.join(COMPONENTS)}. Repeat it for each.",
)
@click.option(
    "--trust-config",
    type=click.IntRange(0, PCR_COUNT - 1),
    metavar="INDEX",
    help="The register into which the agent's trust configuration was measured.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The document to write, for `sealward reference import`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pcr(
    file: Path,
    *,
    name: str,
    selection: PcrSelection | None,
    components: dict[int, list[str]],
    trust_config: int | None,
    output: Path,
    as_json: bool,
) -> None:
    """Turn the TPM registers in FILE into a reference set: one boot.

    FILE is what `tpm2_pcrread -o` (name its registers with --pcrs) or `tpm2_quote -o` wrote, or the
    evidence envelope of a node. Take it on a machine in the very state that you reviewed: every
    value in it will be believed. Nodes match it when they quote these registers and no others.
    """
    registers = _registers(file, selection)
    vouching = {*components, *(() if trust_config is None else (trust_config,))}
    absent = vouching - {register.index for register in registers}
    if absent:
        raise Failure(f"{file} has no PCR {min(absent)}", "read that register too, or leave it out")
    _require_boot(file, registers, vouching)
    document: dict[str, Any] = {
        "name": name,
        "not_after": None,
        "values": [
            {
                "kind": "pcr",
                "key": register.key,
                "value": {
                    "name": f"{name}, PCR {register.index}",
                    "components": components.get(register.index, []),
                    "trust_config": "image" if register.index == trust_config else None,
                },
            }
            for register in registers
        ],
    }
    write_document(output, document)
    if as_json:
        write_json(document)
        return
    write_table(
        ("bank", "pcr", "value", "covers"),
        [
            (
                register.bank,
                register.index,
                register.value,
                components.get(register.index, [])
                + (["trust configuration"] if register.index == trust_config else []),
            )
            for register in registers
        ],
    )


def _registers(file: Path, selection: PcrSelection | None) -> tuple[Register, ...]:
    """Return the registers in a file but PCR 10, which a quote may have and no boot does."""
    with file.open("rb") as opened:
        data = opened.read(registry.MAX_FILE_BYTES + 1)
    try:
        banks = _banks(data) if selection is None else split_raw(data, (selection,))
    except VerifierError as error:
        raise Failure(
            f"{file}: {error.detail}",
            "give what `tpm2_pcrread -o` wrote, with the same registers in --pcrs",
        ) from None
    weak = [bank.bank.label for bank in banks if bank.bank not in PCR_BANKS]
    if weak:
        raise Failure(
            f"{file} has values of the bank {weak[0]}, which nothing can rest on",
            f"quote or read one of {', '.join(_BANKS)} alone",
        )
    return tuple(
        Register(bank.bank.label, index, value.hex())
        for bank in banks
        for index, value in bank.values
        if index != boots.RUNTIME_PCR
    )


def _require_boot(file: Path, registers: tuple[Register, ...], vouching: set[int]) -> None:
    """Refuse what the control plane would refuse to import."""
    for register in registers:
        against = boots.objection(register, vouches=register.index in vouching)
        if against is not None:
            raise Failure(
                against,
                "let machines measure it, or neither read it here nor have nodes quote it",
            )
    against = boots.mixture(registers)
    if against is not None:
        raise Failure(
            f"{file} is not one boot: {against}", "read PCRs 0 to 7 and more, all of one bank"
        )


def _banks(data: bytes) -> tuple[PcrBank, ...]:
    """Return the banks of a file that says itself what it is.

    Raises:
        VerifierError: it is neither evidence of a TPM nor a PCR file.
    """
    for item in registry.recognise(data):
        if item.role is TpmRole.EVIDENCE:
            return evidence.parse(item.data).pcrs
    return pcr_file.parse(data)


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write a reference set into a new file; Failure when there is one."""
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(json.dumps(document, indent=2) + "\n")
    except FileExistsError:
        raise Failure(f"{path} exists", "choose another name with -o") from None
