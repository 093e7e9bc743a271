"""What all minters of the kit share: DER, X.509 certificates, development roots, keys.

Like the minters themselves it imports nothing of the verifier (docs/adr, contract `minter`).
"""
