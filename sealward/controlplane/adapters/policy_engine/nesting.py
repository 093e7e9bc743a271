"""How deep the brackets of a Rego text nest, before any parser sees it.

regorus tries several readings of every bracket: its parse time doubles with each level (16 levels
take seconds, 10 take 20 ms). The worker's deadline would end that; this scan says where and why.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DEPTH: Final = 10  # the deepest shipped policy nests 5

# Comments and strings hide brackets. Possessive: each character is looked at once.
_TOKEN: Final = re.compile(
    r'#[^\n]*+|"(?:[^"\\\n]|\\[^\n])*+(?P<open_string>"?+)|`[^`]*+(?P<open_raw>`?+)|(?P<bracket>[\[\](){}])'
)


def find_too_deep(text: str) -> tuple[int, int, str] | None:
    """Return (line, column, what) of the first place too deep or string without end, or None."""
    depth = 0
    for token in _TOKEN.finditer(text):
        bracket = token["bracket"]
        if token["open_string"] == "" or token["open_raw"] == "":
            return (*_position(text, token.start()), "this string has no end")
        if bracket is None:
            continue
        if bracket in "[({":
            depth += 1
            if depth > MAX_DEPTH:
                what = f"brackets nest deeper than {MAX_DEPTH}; give the inner value a name"
                return (*_position(text, token.start()), what)
        else:
            depth = max(0, depth - 1)  # a closing one too many must not buy depth
    return None


def _position(text: str, offset: int) -> tuple[int, int]:
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1
