"""How every answer is written: JSON in which no foreign character can act (F26).

Names, labels and reasons may come from an attacker's evidence. In ASCII a terminal that shows an
answer obeys none of them; without `<`, `>` and `&` a page that embeds one does not either. Readers
of JSON see the same values.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final

from starlette.responses import JSONResponse

# None of these stands outside of strings in JSON text.
_ESCAPES: Final = MappingProxyType({ord(c): f"\\u{ord(c):04x}" for c in "\x7f<>&"})


class EscapedJson(JSONResponse):
    """A JSON answer."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - the framework's signature
        """Return the body."""
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.translate(_ESCAPES).encode("ascii")
