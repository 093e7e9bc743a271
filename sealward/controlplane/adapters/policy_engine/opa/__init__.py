"""The OPA engine: policies evaluated by an OPA server of the operator's (docs/adr/0008)."""
