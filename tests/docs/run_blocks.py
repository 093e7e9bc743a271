"""Execute the ```console blocks of a Markdown document, and compare what they show with what comes.

All blocks of a document run in order in one shell, in an empty work folder with an empty HOME;
other fences (```sh, ```text) are for reading. Inside a block:

    $ command            one command; it must exit with 0, or with N when it ends in `# exits N`
    > more of it         a continuation, as a shell prints it
    output               what it prints (standard error too), compared when the document shows any;
                         `...` stands for any text in a line, and alone on a line for any lines

A command may end in `&`: whatever still runs at the end of the document is ended with the shell.

    python tests/docs/run_blocks.py [--show] [--timeout SECONDS] DOCUMENT

Exits with 1 and the first difference when the document is wrong. `--show` prints what really came.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

_FENCE: Final = re.compile(r"^```(\w*)\s*$")
_EXITS: Final = re.compile(r"#\s*exits (\d+)\s*$")
_GRACE_S: Final = 5.0
_LOOK_S: Final = 0.01


class WrongDocument(Exception):
    """The document shows something else than what happens, or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a document.

    Attributes:
        line: where it stands, counted from 1.
        command: shell text, perhaps of several lines.
        shown: lines that the document shows below it; empty when it shows none.
        exits: the exit status that it must have.
    """

    line: int
    command: str
    shown: tuple[str, ...]
    exits: int


def steps_of(document: str) -> tuple[Step, ...]:
    """Return the commands of every console block, in order.

    Raises:
        WrongDocument: a block starts with output, or is not closed.
    """
    steps: list[Step] = []
    for line, block in _console_blocks(document):
        commands: list[tuple[int, list[str], list[str]]] = []
        for offset, text in enumerate(block):
            if text.startswith("$ "):
                commands.append((line + offset, [text[2:]], []))
            elif not commands:
                raise WrongDocument(f"line {line + offset}: output before the first command")
            elif text.startswith("> ") and not commands[-1][2]:
                commands[-1][1].append(text[2:])
            else:
                commands[-1][2].append(text)
        steps += [_step(*command) for command in commands]
    return tuple(steps)


def _step(line: int, command: list[str], shown: list[str]) -> Step:
    while shown and not shown[-1].strip():
        shown.pop()
    exits = _EXITS.search(command[-1])
    return Step(
        line=line,
        command="\n".join(command),
        shown=tuple(shown),
        exits=int(exits[1]) if exits else 0,
    )


def _console_blocks(document: str) -> Iterator[tuple[int, list[str]]]:
    language: str | None = None
    block: list[str] = []
    start = 0
    for number, text in enumerate(document.splitlines(), start=1):
        fence = _FENCE.match(text)
        if fence is None:
            block.append(text)
        elif language is None:
            language, block, start = fence[1], [], number + 1
        else:
            if language == "console":
                yield start, block
            language = None
    if language is not None:
        raise WrongDocument(f"line {start - 1}: the block is not closed")


def differences(shown: tuple[str, ...], came: tuple[str, ...]) -> str:
    """Return how `came` differs from what the document shows, or "" when it does not."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "..." else _line_pattern(line) for line in shown
    )
    if re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in came)):
        return ""
    return "\n".join(difflib.unified_diff(shown, came, "shown", "came", lineterm="", n=99))


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.rstrip().split("...")) + r"\n"


class Shell:
    """One bash, and everything that it starts, in a process group of its own."""

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        work, home = folder / "work", folder / "home"
        work.mkdir()
        home.mkdir()
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=work,
            env={
                "HOME": str(home),
                "PATH": path,
                "LANG": "C.UTF-8",
                "TERM": "dumb",
                "NO_COLOR": "1",
                "COLUMNS": "120",
            },
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._count = 0

    def run(self, command: str, timeout_s: float) -> tuple[int, tuple[str, ...]]:
        """Return exit status and lines of output.

        Output goes to a file of its own, so that what runs on in the background cannot speak into
        the output of a later command.

        Raises:
            WrongDocument: the command does not end in time, or ends the shell.
        """
        self._count += 1
        script, output, draft, status = (
            self._folder / f"{self._count}.{kind}" for kind in ("sh", "out", "draft", "status")
        )
        script.write_text(command + "\n")
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f'. "{script}" </dev/null >"{output}" 2>&1; echo $? >"{draft}"\n')
        stdin.write(f'mv "{draft}" "{status}"\n')
        stdin.flush()
        until = time.monotonic() + timeout_s
        while not status.exists() and self._process.poll() is None and time.monotonic() < until:
            time.sleep(_LOOK_S)
        came = tuple(output.read_text(errors="replace").splitlines()) if output.exists() else ()
        if not status.exists():
            tail = "\n".join(came[-20:])
            raise WrongDocument(f"no end within {timeout_s:g} s, or the shell ended:\n{tail}")
        return int(status.read_text()), came

    def close(self) -> None:
        """End the shell and everything that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            until = time.monotonic() + _GRACE_S
            while self._alive() and time.monotonic() < until:
                time.sleep(_LOOK_S)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _alive(self) -> bool:
        self._process.poll()
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True


def run_document(document: str, *, path: str, timeout_s: float, show: bool = False) -> int:
    """Run every step of a document; return how many there were.

    Raises:
        WrongDocument: at the first step that is not as shown.
    """
    steps = steps_of(document)
    with tempfile.TemporaryDirectory(prefix="blocks-") as folder:
        shell = Shell(Path(folder), path)
        try:
            for step in steps:
                began = time.monotonic()
                _run(shell, step, timeout_s, show=show)
                took = time.monotonic() - began
                say(f"line {step.line:>4}  {took:6.2f} s  {step.command.splitlines()[0]}")
        finally:
            shell.close()
    return len(steps)


def _run(shell: Shell, step: Step, timeout_s: float, *, show: bool) -> None:
    where = f"line {step.line}: $ {step.command}"
    try:
        status, came = shell.run(step.command, timeout_s)
    except WrongDocument as error:
        raise WrongDocument(f"{where}\n{error}") from None
    if show:
        say(*came)
    if status != step.exits:
        raise WrongDocument(
            f"{where}\nexit status {status}, not {step.exits}:\n" + "\n".join(came[-20:])
        )
    if step.shown and (difference := differences(step.shown, came)):
        raise WrongDocument(f"{where}\n{difference}")


def say(*lines: str, to: TextIO = sys.stdout) -> None:
    """Print lines at once."""
    print(*lines, sep="\n", file=to, flush=True)


def main() -> int:
    """Run one document."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("document", type=Path)
    arguments.add_argument("--timeout", type=float, default=120.0, help="seconds for each command")
    arguments.add_argument("--show", action="store_true", help="print what every command prints")
    options = arguments.parse_args()
    beside = Path(sys.executable).parent  # the environment whose commands the document means
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    try:
        count = run_document(
            options.document.read_text(), path=path, timeout_s=options.timeout, show=options.show
        )
    except WrongDocument as error:
        say(f"{options.document}: {error}", to=sys.stderr)
        return 1
    say(f"{options.document}: {count} commands are as shown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
