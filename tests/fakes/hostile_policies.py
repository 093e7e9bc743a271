"""Policies that mean harm: to processor, memory, stack, parser, or the answer's reader."""

from __future__ import annotations

REST = "\nreasons := set()\nobligations := {}\n"
DOUBLING = "\n".join(f's{at + 1} := concat("", [s{at}, s{at}])' for at in range(40))
CHAIN = "\n".join(f"r{at} := r{at + 1}" for at in range(4000))
FANOUT = "\n".join(f"f{at}(x) := f{at + 1}(x) + f{at + 1}(x)" for at in range(60))

XS = "xs := numbers.range(1, 3000)\n"
TREE = "xs := {x: {y: 1 | some y in numbers.range(1, 300)} | some x in numbers.range(1, 300)}\n"
SQUARING = "\n".join(f"n{at + 1} := n{at} * n{at}" for at in range(40))
DEEPER = "\n".join(f"d{at + 1} := [d{at}]" for at in range(150))
ELSES = "\n".join(f"}} else := true if {{ input.a == {at}" for at in range(3000))
LONG_A = 'a := concat("", ["a" | some x in numbers.range(1, 60000)])\n'

# What follows the package clause.
HOSTILE = {
    "unbounded range": "allow := count(numbers.range(1, 1000000000)) > 0",
    "unbounded loop": XS + "allow if { some a in xs; some b in xs; some c in xs; a + b + c < 0 }",
    "comprehension of products": XS
    + "allow := count({[a, b, c] | some a in xs; some b in xs; some c in xs}) > 0",
    "recursion": "f(x) := f(x)\nallow := f(1)",
    "growing recursion": "f(x) := f([x])\nallow := f(1)",
    "mutual recursion": "f(x) := g(x)\ng(x) := h(x)\nh(x) := f(x)\nallow := f(1)",
    "recursion by replacement": "f(x) := 1\ng(x) := h(x)\nh(x) := f(x)\n"
    "allow := r\nr := y if { y := h(1) with f as g }",
    "exponential calls": FANOUT + "\nf60(x) := x\nallow := f0(1) > 0",
    "rule chain": CHAIN + "\nr4000 := true\nallow := r0",
    "memory by doubling": 's0 := "0123456789abcdef"\n' + DOUBLING + "\nallow := count(s40) > 0",
    "memory by arrays": XS + "allow := count([[x, y] | some x in xs; some y in xs]) > 0",
    "memory by shifting": "allow := bits.lsh(1, 10000000000) > 0",
    "memory by format": 'allow := count(sprintf("%1000000000d", [1])) > 0',
    "memory by replacement": LONG_A + 'allow := count(replace(replace(a, "a", a), "a", a)) > 0',
    "nested brackets": "allow := " + "[" * 40 + "1" + "]" * 40,
    "nested braces": "allow := " + "{" * 40 + "1" + "}" * 40,
    "nested operators": "allow := 0 < " + " + ".join(["1"] * 20000),
    "nested references": "allow := input" + ".a" * 20000,
    "many brackets in a row": "allow := " + " == ".join(["[[[[[[[[[[1]]]]]]]]]]"] * 2000),
    "long string": 'allow := count("' + "a" * 200000 + '") > 0',
    "deep document": f"allow := json.unmarshal(`{'[' * 100000}{']' * 100000}`) == 1",
    "catastrophic expression": LONG_A + 'allow := regex.match("^(a+)+$", a) == false',
    "huge expression": 'allow := regex.match("(((a{1000}){1000}){1000}){1000}", "a")',
    "huge answer": "allow := true\nreasons := numbers.range(1, 200000)\nobligations := {}",
    "walk of everything": TREE
    + "allow := count([1 | walk(xs, [p, _]); walk(xs, [q, _]); p == q]) < 0",
    "sorting millions": "xs := numbers.range(1, 3000000)\n"
    "allow := count(sort([y | some x in xs; y := 0 - x])) < 0",
    "sum of products": XS
    + "allow := sum([y | some a in xs; some b in xs; some c in xs; y := a * b]) < 0",
    "squaring": "n0 := 999999999999\n" + SQUARING + "\nallow := n40 < 0",
    "alternatives of a rule": "allow if { input.b\n" + ELSES + "\n}",
    "deep answer": "d0 := [1]\n" + DEEPER + "\nallow := true\nreasons := d150\nobligations := {}",
    "walk of a deep value": XS
    + "d0 := xs\n"
    + DEEPER
    + "\nallow := count([1 | some x in xs; walk(d150, [p, _]); p == [x]]) < 0",
    "deep text at run time": 'a := concat("", ["[" | some x in numbers.range(1, 2000000)])\n'
    "allow := json.unmarshal(a) == 1",
    "unions of unions": XS
    + "u0 := {x | some x in xs}\n"
    + "\n".join(f"u{at + 1} := {{[a, b] | some a in u{at}; some b in xs}}" for at in range(3))
    + "\nallow := count(u3) < 0",
    "objects that grow": 'o0 := {"a": xs}\n'
    + XS
    + "\n".join(f'o{at + 1} := {{"a": [o{at}, o{at}]}}' for at in range(40))
    + "\nallow := count(json.marshal(o40)) < 0",
    "expression of replacements": LONG_A + 'allow := count(regex.replace(a, "a", a)) < 0',
    "pattern of stars": LONG_A + 'allow := glob.match("' + "*a" * 30 + '*b", [], a)',
    "splitting everything": LONG_A
    + 'allow := count([x | some p in split(a, ""); some q in split(a, ""); x := [p, q]]) < 0',
    "needles everywhere": LONG_A
    + "allow := count([1 | some x in indexof_n(a, "
    + '"a"); some y in indexof_n(a, "a"); x < 0 - y]) < 0',
}
# Every class of attack, and which of them are of it.
CLASSES = {
    "unbounded ranges": ("unbounded range", "sorting millions"),
    "loops in loops": ("unbounded loop", "comprehension of products", "sum of products"),
    "recursion": (
        *("recursion", "growing recursion", "mutual recursion", "recursion by replacement"),
    ),
    "chains and alternatives": ("exponential calls", "rule chain", "alternatives of a rule"),
    "growing texts": ("memory by doubling", "memory by replacement", "memory by format"),
    "growing values": ("memory by arrays", "unions of unions", "objects that grow"),
    "growing numbers": ("memory by shifting", "squaring"),
    "nesting of the source": (
        *("nested brackets", "nested braces", "nested operators", "nested references"),
        *("many brackets in a row", "long string"),
    ),
    "deep values": (
        "deep document",
        "deep answer",
        "walk of a deep value",
        "deep text at run time",
    ),
    "regular expressions": (
        *("catastrophic expression", "huge expression", "expression of replacements"),
    ),
    "patterns and searches": ("pattern of stars", "splitting everything", "needles everywhere"),
    "walks": ("walk of everything",),
    "huge answers": ("huge answer",),
}
# Strange, but within all limits: a true answer is right for these.
HARMLESS = frozenset(
    {"long string", "catastrophic expression", "many brackets in a row", "pattern of stars"}
)


def body(name: str) -> str:
    """What follows the package clause, with all names that a release policy answers."""
    text = HOSTILE[name]
    return text if "reasons :=" in text else text + REST
