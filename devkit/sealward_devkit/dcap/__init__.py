"""The Intel minter: PCK hierarchy, TDX and SGX quotes, and the collateral that judges them.

This package writes bytes from the published layouts (evidence-formats section 3: Intel SGX DCAP
quote library, PCK certificate profile, PCS v4) and deliberately imports nothing from the verifier.
A reader of others, dcap-qvl, accepts what it mints: tests/unit/devkit/test_dcap_qvl.py.
"""
