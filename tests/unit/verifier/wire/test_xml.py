"""The narrow XML is read strictly, and its canonical form is that of Canonical XML 1.1."""

from __future__ import annotations

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import xml


def read(text: str) -> xml.Element:
    return xml.parse(text.encode(), what="test", max_bytes=1 << 16)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("<a/>", "<a></a>"),
        ("<a  ></a >\n", "<a></a>"),
        ('<a b="2" a="1"/>', '<a a="1" b="2"></a>'),
        ("<a>\n  text <b/>\n</a>", "<a>\n  text <b></b>\n</a>"),
        # Canonical XML 1.1 section 3.3: declarations first, by prefix; attributes by namespace.
        (
            '<n:a xmlns:z="u:1" xmlns:n="u:2" xmlns="u:3" z:b="1" n:a="2" c="3"/>',
            '<n:a xmlns="u:3" xmlns:n="u:2" xmlns:z="u:1" c="3" z:b="1" n:a="2"></n:a>',
        ),
        # A namespace that is in force already is not declared again; another value is.
        (
            '<a xmlns="u:1"><b xmlns="u:1"><c xmlns="u:2"/></b></a>',
            '<a xmlns="u:1"><b><c xmlns="u:2"></c></b></a>',
        ),
        ('<a xmlns:p="u:1"><b xmlns:q="u:1"/></a>', '<a xmlns:p="u:1"><b xmlns:q="u:1"></b></a>'),
        ("<a t='x'/>".replace("'", '"'), '<a t="x"></a>'),
        ('<a t="it\'s"/>', '<a t="it\'s"></a>'),
    ],
)
def test_the_canonical_form_is_that_of_the_recommendation(written: str, canonical: str) -> None:
    assert xml.canonical(read(written)).decode() == canonical


def test_an_inner_apex_shows_the_namespaces_around_it() -> None:
    root = read('<a xmlns="u:1" xmlns:p="u:2"><b xmlns:p="u:3"><c d="1"/></b></a>')
    (b,) = root.elements
    (c,) = b.elements
    shown = xml.canonical(c, ancestors=(root, b)).decode()
    assert shown == '<c xmlns="u:1" xmlns:p="u:3" d="1"></c>'


def test_an_element_that_is_left_out_takes_nothing_with_it_but_its_inside() -> None:
    root = read("<a>x<b>y</b>z<b>y</b></a>")
    assert xml.canonical(root, without=root.elements[0]) == b"<a>xz<b>y</b></a>"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><a/>",
        "<a/>x",
        "x<a/>",
        "\n<a/>",
        "<a b='1'/>",
        "<a b=1/>",
        '<a b="1"c="2"/>',
        '<a b="1" b="2"/>',
        '<a b="&amp;"/>',
        '<a b="<"/>',
        '<a b="\n"/>',
        "<a>&#65;</a>",
        "<a>]]></a>",
        "<a>\t</a>",
        "<a>\r\n</a>",
        "<a>\u00e9</a>",
        "<!-- c --><a/>",
        "<a><!-- c --></a>",
        '<?xml version="1.0"?><a/>',
        "<a><?p i?></a>",
        "<!DOCTYPE a><a/>",
        '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        "<a><![CDATA[x]]></a>",
        "<p:a/>",
        '<a p:b="1"/>',
        '<a xmlns:p=""/>',
        '<a xmlns=""/>',
        '<a xmlns:xml="u:1"/>',
        '<a xmlns:xmlns="u:1"/>',
        '<a xml:lang="en"/>',
        '<a xmlns:p="u:1" xmlns:q="u:1" p:b="1" q:b="2"/>',
        '<a xmlns:p="u:1" xmlns:p="u:2"/>',
        "<a:b:c/>",
        "< a/>",
        "<a" + "".join(f' b{number}="1"' for number in range(65)) + "/>",
        "<a>" * 13 + "</a>" * 13,
        "<a>" + "<b/>" * 1024 + "</a>",
    ],
    ids=lambda text: repr(text)[:40] + str(len(text)),
)
def test_anything_else_is_malformed(wrong: str) -> None:
    with pytest.raises(MalformedEvidence):
        read(wrong)


def test_a_document_beyond_its_budget_is_not_read() -> None:
    with pytest.raises(MalformedEvidence):
        xml.parse(b"<a/>" + b"\n" * 10, what="test", max_bytes=10)


def test_an_attribute_is_found_by_local_name_and_namespace() -> None:
    root = read('<a xmlns:p="u:1" b="1" p:b="2"/>')
    assert (root.attribute("b"), root.attribute("b", "u:1")) == ("1", "2")
    assert root.attribute("c") is None
