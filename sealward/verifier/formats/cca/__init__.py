"""Arm CCA attestation tokens. Start with README.md beside this file."""
