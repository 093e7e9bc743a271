"""The runner of documents: what it takes for right, what it takes for wrong, and what it leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from docs.run_blocks import WrongDocument, differences, run_document, steps_of

RIGHT = """
# A document

```sh
exit 99   # for reading only
```

```console
$ mkdir here && cd here
$ printf 'one\\ntwo\\nthree %s\\n' "$(date +%s)"
one
...
three ...
$ cat > file <<END
> hello
> END
```

and later, in the same shell:

```console
$ cat file; pwd
hello
...here
$ false   # exits 1
$ sleep 300 & echo $! > pid
$ cat
```
"""


def run(document: str, timeout_s: float = 20) -> int:
    return run_document(document, path=os.environ["PATH"], timeout_s=timeout_s)


def block(*lines: str) -> str:
    return "\n".join(("```console", *lines, "```"))


def test_a_document_that_is_right_runs_in_one_shell() -> None:
    assert run(RIGHT) == 7


def test_nothing_runs_on_after_the_document(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    run(
        block(
            f"$ bash -c 'sleep 300 & echo $! > {pid}; wait' &", f"$ until [ -s {pid} ]; do :; done"
        )
    )
    until = time.monotonic() + 5
    while Path(f"/proc/{pid.read_text().strip()}/exe").exists():
        assert time.monotonic() < until


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("$ echo one", "two"), "-two\n+one"),
        (("$ echo one", "one", "two"), "-two"),
        (("$ printf 'one\\ntwo\\n'", "one"), "+two"),
        (("$ true", "one"), "-one"),
        (("$ false",), "exit status 1, not 0"),
        (("$ true  # exits 3",), "exit status 0, not 3"),
        (("$ exit 0",), "the shell ended"),
        (("$ echo fine", "fine", "$ no-such-command"), "no-such-command: command not found"),
        (("output", "$ true"), "output before the first command"),
    ],
)
def test_a_document_that_is_wrong_is_found_out(lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(WrongDocument) as wrong:
        run(block(*lines))
    assert said in str(wrong.value)


def test_a_command_that_does_not_end_is_found_out() -> None:
    with pytest.raises(WrongDocument, match=r"no end within 0\.3 s"):
        run(block("$ sleep 60"), timeout_s=0.3)


def test_a_block_that_is_not_closed_is_found_out() -> None:
    with pytest.raises(WrongDocument, match="line 1: the block is not closed"):
        steps_of("```console\n$ true\n")


def test_the_line_of_a_command_is_where_it_stands() -> None:
    assert [step.line for step in steps_of(f"\n\n{block('$ one', 'out', '$ two', '> more')}")] == [
        4,
        6,
    ]


@pytest.mark.parametrize(
    ("shown", "came", "same"),
    [
        ("a ... c", "a b c", True),
        ("a ... c", "a  c d", False),
        ("...", "", True),
        ("a|...|z", "a|b|c|z", True),
        ("a|...|z", "a|b|c", False),
        ("1.0 (x)", "1.0 (x)", True),
        ("1.0", "100", False),
    ],
)
def test_three_dots_stand_for_any_text(shown: str, came: str, *, same: bool) -> None:
    lines = [tuple(text.split("|")) if text else () for text in (shown, came)]
    assert (differences(*lines) == "") is same
