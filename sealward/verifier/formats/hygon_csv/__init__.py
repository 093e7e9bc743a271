"""Hygon CSV attestation reports. Start with README.md beside this file."""
