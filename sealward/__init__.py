"""Sealward: a policy-as-code zero-trust control plane for confidential AI."""

__version__ = "0.1.0"
