"""The SEV-SNP minter: certificates, attestation reports and the GHCB certificate table.

This package writes bytes from the published layouts (evidence-formats section 2, AMD documents
56860 and 57230) and deliberately imports nothing from the verifier: a layout mistake made on one
side only is then caught by the tests that let the two meet.
"""
