"""A development installation to measure: the real `sealward serve`, made ready as a user would.

Everything goes through the public command line; what a benchmark needs afterwards is in
`Installation`. The folder is below the stage's and goes with it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealward_devkit.demo.callers import model_file
from sealward_devkit.demo.stage import Json, Process, Stage, require, wait_for
from sealward_devkit.snp.report import development_measurement

TRUST_DOMAIN: Final = "development.bench.sealward.invalid"
WORKLOAD: Final = "file-scanner"
MODEL: Final = "magika"
REFERENCE_SET: Final = "bench-images"
_START_S: Final = 60.0
_PRODUCT: Final = ("--product", "Milan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A control plane that runs and admits the nodes of a benchmark.

    Attributes:
        stage: its processes and its command line.
        process: `sealward serve`.
        rest: https URL of the admin API.
        enrollment: host:port of the enrolment listener.
        agents: host:port of the agent listener.
    """

    stage: Stage
    process: Process
    rest: str
    enrollment: str
    agents: str

    @property
    def trust(self) -> Path:
        """The trust configuration that agents measure."""
        return self.stage.folder / "trust.json"

    @property
    def platform(self) -> Path:
        """The allowed platform that every node of the benchmark runs on."""
        return self.stage.folder / "platform"


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage in a folder of its own; a failure shows the logs of what ran on it."""
    with tempfile.TemporaryDirectory(prefix="sealward-bench-") as folder:
        stage = Stage(Path(folder))
        try:
            yield stage
        except BaseException:
            stage.show_logs(sys.stderr)
            raise
        finally:
            stage.clear()


def start(stage: Stage, *development: str) -> Installation:
    """Start a control plane with an administrator, the shipped policies and its trust file.

    Args:
        stage: where it runs.
        development: options of `sealward serve` beside `--development`.

    Raises:
        WentWrong: a command failed.
    """
    process, record = _serve(stage, development)
    stage.run(
        *("sealward", "admin", "bootstrap", "--name", "alice", "--server", str(record["rest"])),
        *("--ca", "plane/server-root.pem", "--credential", "plane/bootstrap-credential"),
        *("--credentials", str(stage.credentials)),
    )
    for kind in ("enrollment", "appraisal", "release"):
        pushed = stage.run("sealward", "policy", "push", "--shipped", kind)
        stage.run("sealward", "policy", "activate", str(pushed["digest"]))
    stage.run("sealward", "trust", "show", "-o", "trust.json")
    return Installation(
        stage=stage,
        process=process,
        rest=str(record["rest"]),
        enrollment=str(record["enrollment"]),
        agents=str(record["agents"]),
    )


def install(stage: Stage, *, images: Iterable[str], ttl_seconds: int) -> Installation:
    """Start a control plane with a sealed model that admits these images on one SNP platform.

    Raises:
        WentWrong: a command failed.
    """
    stage.run("sealward-devkit", "root", "create", "root", *_PRODUCT)
    made = stage.run(
        "sealward-devkit", "platform", "create", "--root", "root", *_PRODUCT, "platform"
    )
    installation = start(stage, "--development-root", "root/anchors.pem")
    document = reference_set(REFERENCE_SET, images, tcb_floor=True)
    (stage.folder / "reference.json").write_text(json.dumps(document))
    stage.run("sealward", "reference", "import", "reference.json")
    stage.run("sealward", "platform", "allow", str(made["platform_id"]))
    _seal(stage, ttl_seconds)
    return installation


def reference_set(name: str, images: Iterable[str], *, tcb_floor: bool) -> Json:
    """Return a reference set that admits these images."""
    values: list[Json] = [
        {
            "kind": "measurement",
            "key": development_measurement(image).hex(),
            "value": {
                "name": image,
                "components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
                "clock": "protected",
                "trust_config": "host_data",
            },
        }
        for image in images
    ]
    if tcb_floor:
        floor = {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115}
        values.append({"kind": "tcb_floor", "key": "snp/Milan", "value": floor})
    return {"name": name, "not_after": None, "values": values}


def _serve(stage: Stage, development: tuple[str, ...]) -> tuple[Process, Json]:
    process = stage.start(
        "control-plane",
        *("sealward", "serve", "--data", "plane", "--trust-domain", TRUST_DOMAIN, "--json"),
        *("--rest", "127.0.0.1:0", "--enrollment", "127.0.0.1:0", "--agents", "127.0.0.1:0"),
        *("--development", *development),
    )

    def announced() -> Json | None:
        require(process.popen.poll() is None, "the control plane ended")
        text = process.output.read_bytes()
        return json.loads(text) if text.endswith(b"}\n") else None  # noqa: TID251 - its own record

    return process, wait_for("the control plane's start", _START_S, announced)


def _seal(stage: Stage, ttl_seconds: int) -> None:
    stage.run("sealward", "model", "creator-keygen", "-o", "creator.key")
    stage.run(
        *("sealward", "workload", "create", WORKLOAD, "--ttl", str(ttl_seconds)),
        *("--creator", "creator.key.pub"),
    )
    stage.run("sealward", "workload", "key", WORKLOAD, "-o", "workload.pub.json")
    stage.run(
        *("sealward", "model", "seal", str(model_file()), "--name", MODEL, "--version", "1"),
        *("--workload-key", "workload.pub.json", "--creator-key", "creator.key"),
        *("-o", "magika.sealed"),
    )
    stage.run("sealward", "model", "register", "magika.sealed")
