"""A strict reader of a narrow XML 1.0 with namespaces, and its inclusive canonical form.

What is signed as XML is signed over its canonical form, so the reader and the canonicaliser must
agree on every byte. They do so by reading little: printable ASCII and line feeds; elements,
attributes in double quotes, text. Declarations, DTDs, references of any kind, comments, CDATA,
processing instructions, `xml:` attributes and the undeclaring of namespaces are all refused. So no
character of text or of an attribute ever needs escaping or normalising, and Canonical XML 1.0 and
1.1, which differ only in `xml:` attributes, are one (docs/adr/0009).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import check_budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_DEPTH: Final = 12  # a signed reference manifest nests 6 deep
MAX_ELEMENTS: Final = 1024  # such a manifest has 85
MAX_ATTRIBUTES: Final = 64  # of one element, declarations counted; 13 are the most seen

_ALLOWED: Final = re.compile(rb"[\n\x20-\x7e]*+")
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_.-]*+(?::[A-Za-z_][A-Za-z0-9_.-]*+)?+"
# Possessive throughout, so that a tag which does not end is looked at once.
_PAIR: Final = re.compile(rf'[ \n]++({_NAME})="([^"<>&\n]*+)"')
_TOKEN: Final = re.compile(
    rf"(?P<text>[^<>&]++)|</(?P<close>{_NAME})[ \n]*+>"
    rf'|<(?P<open>{_NAME})(?P<pairs>(?:[ \n]++{_NAME}="[^"<>&\n]*+")*+)[ \n]*+(?P<empty>/?+)>'
)
_RESERVED: Final = frozenset({"xml", "xmlns"})  # Namespaces in XML 1.0 section 3


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute; `namespace` is empty for a name without a prefix."""

    name: str
    local: str
    namespace: str
    value: str


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """One element.

    Attributes:
        name: as written, with its prefix.
        local, namespace: what the name means.
        declared: the namespaces it declares itself, (prefix, URI); the default has prefix "".
        attributes: all others, in the order written.
        children: elements and text, in order.
    """

    name: str
    local: str
    namespace: str
    declared: tuple[tuple[str, str], ...] = field(repr=False)
    attributes: tuple[Attribute, ...] = field(repr=False)
    children: tuple[Element | str, ...] = field(repr=False)

    @property
    def elements(self) -> tuple[Element, ...]:
        """The children that are elements."""
        return tuple(child for child in self.children if isinstance(child, Element))

    @property
    def text(self) -> str:
        """All text directly inside."""
        return "".join(child for child in self.children if isinstance(child, str))

    def attribute(self, local: str, namespace: str = "") -> str | None:
        """Return the value of an attribute, or None."""
        for item in self.attributes:
            if item.local == local and item.namespace == namespace:
                return item.value
        return None


def parse(data: bytes, *, what: str, max_bytes: int) -> Element:
    """Return the root element of a document.

    Raises:
        MalformedEvidence: not exactly one document of the narrow form, within the budgets.
    """
    check_budget(data, max_bytes, what)
    allowed = _ALLOWED.match(data)
    end = 0 if allowed is None else allowed.end()
    if end != len(data):
        raise MalformedEvidence(end, f"{what}: a character that is not printable ASCII")
    return _Parser(what).run(data.decode("ascii"))


def canonical(
    element: Element,
    *,
    ancestors: tuple[Element, ...] = (),
    without: Element | None = None,
) -> bytes:
    """Return the inclusive canonical form of an element (Canonical XML 1.1 section 2.3).

    Args:
        element: the apex of what is canonicalised.
        ancestors: the elements around it, outermost first; their namespaces are rendered in it.
        without: an element inside that is left out with all it holds, as the enveloped-signature
            transform does.
    """
    scope = {prefix: uri for outer in ancestors for prefix, uri in outer.declared}
    declared = scope | dict(element.declared)
    return "".join(_render(element, declared, declared, without)).encode("ascii")


def _render(
    element: Element,
    declared: Mapping[str, str],
    scope: Mapping[str, str],
    without: Element | None,
) -> Iterator[str]:
    """Yield the pieces; `declared` are the namespaces to show here, `scope` those in force."""
    yield f"<{element.name}"
    for prefix in sorted(declared):
        yield f' xmlns{":" if prefix else ""}{prefix}="{declared[prefix]}"'
    for item in sorted(element.attributes, key=lambda item: (item.namespace, item.local)):
        yield f' {item.name}="{item.value}"'
    yield ">"
    for child in element.children:
        if isinstance(child, str):
            yield child
        elif child is not without:
            new = {p: uri for p, uri in child.declared if scope.get(p) != uri}
            yield from _render(child, new, {**scope, **new}, without)
    yield f"</{element.name}>"


class _Parser:
    """One document being read; nothing recurses."""

    def __init__(self, what: str) -> None:
        self._what: Final = what
        # Elements that are not closed yet, without their children, and these.
        self._open: Final[list[tuple[Element, list[Element | str]]]] = []
        self._scopes: Final[list[dict[str, str]]] = [{}]
        self._count = 0
        self._root: Element | None = None
        self._at = 0

    def run(self, text: str) -> Element:
        while self._at < len(text):
            token = _TOKEN.match(text, self._at)
            if token is None:
                raise self._malformed("not one of the few forms of XML that are read")
            if token["text"] is not None:
                self._text(token["text"])
            elif token["close"] is not None:
                self._close(token["close"])
            else:
                self._begin(token["open"], token["pairs"])
                if token["empty"]:
                    self._close(token["open"])
            self._at = token.end()
        if self._open or self._root is None:
            raise self._malformed("the document ends before its root element does")
        return self._root

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1][1].append(text)
        elif self._root is None or text.strip("\n "):
            raise self._malformed("text outside the root element")

    def _close(self, name: str) -> None:
        if not self._open or self._open[-1][0].name != name:
            raise self._malformed(f"an end of {name} that was not begun")
        element, children = self._open.pop()
        self._scopes.pop()
        whole = replace(element, children=tuple(children))
        if self._open:
            self._open[-1][1].append(whole)
        else:
            self._root = whole

    def _begin(self, name: str, pairs: str) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise self._malformed("too many elements, or nested too deeply")
        if self._root is not None:
            raise self._malformed("a second root element")
        written = _PAIR.findall(pairs)
        declared = self._declared(written)
        scope = self._scopes[-1] | declared
        local, namespace = self._resolve(name, scope, default=scope.get("", ""))
        attributes = self._attributes(written, scope)
        element = Element(name, local, namespace, tuple(declared.items()), attributes, ())
        self._open.append((element, []))
        self._scopes.append(scope)

    def _declared(self, written: list[tuple[str, str]]) -> dict[str, str]:
        if len({name for name, _ in written}) != len(written) or len(written) > MAX_ATTRIBUTES:
            raise self._malformed("an attribute stands twice, or there are too many")
        declared = {
            name.removeprefix("xmlns").removeprefix(":"): uri
            for name, uri in written
            if _is_declaration(name)
        }
        if not _RESERVED.isdisjoint(declared) or not all(declared.values()):
            raise self._malformed("a namespace that may not be declared")
        return declared

    def _attributes(
        self, written: list[tuple[str, str]], scope: Mapping[str, str]
    ) -> tuple[Attribute, ...]:
        found = tuple(
            Attribute(name, *self._resolve(name, scope, default=""), value)
            for name, value in written
            if not _is_declaration(name)
        )
        if len({(item.namespace, item.local) for item in found}) != len(found):
            raise self._malformed("an attribute stands twice under two prefixes")
        return found

    def _resolve(self, name: str, scope: Mapping[str, str], *, default: str) -> tuple[str, str]:
        prefix, colon, local = name.rpartition(":")
        if not colon:
            return name, default
        if prefix not in scope:
            raise self._malformed(f"the prefix {prefix} is not declared")
        return local, scope[prefix]

    def _malformed(self, why: str) -> MalformedEvidence:
        return MalformedEvidence(self._at, f"{self._what}: {why}")


def _is_declaration(name: str) -> bool:
    return name == "xmlns" or name.startswith("xmlns:")
