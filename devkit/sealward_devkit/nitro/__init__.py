"""The Nitro minter: the certificate hierarchy of enclaves, and attestation documents.

This package writes bytes from the published layouts (evidence-formats section 4; AWS, "Verifying
the root of trust") and deliberately imports nothing from the verifier.
"""
