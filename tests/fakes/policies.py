"""Small policies, as they are uploaded."""

from __future__ import annotations

ORGANISATION = '{"roots":["sealward/release"],"rego_version":1}'

ALLOW_ALL = {
    ".manifest": ORGANISATION,
    "policy.rego": """package sealward.release

import rego.v1

allow := true

obligations := {}

reasons := set()
""",
}

ADMIT_ALL = {
    ".manifest": '{"roots":["sealward/enrollment"],"rego_version":1}',
    "policy.rego": """package sealward.enrollment

import rego.v1

answer := "admit"

labels := {}

reasons := set()
""",
}


def release(layer: str, body: str) -> dict[str, str]:
    """A release policy of the team's or workload's layer with these rules."""
    return {
        ".manifest": f'{{"roots":["sealward/{layer}/release"],"rego_version":1}}',
        "policy.rego": f"package sealward.{layer}.release\n\nimport rego.v1\n\n{body}\n",
    }
