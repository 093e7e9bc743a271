"""Arm PSA attestation tokens. Start with README.md beside this file."""
