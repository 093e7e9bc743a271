"""Mints what NVIDIA's devices and manifest service give, under development roots.

Reports of GPUs and switches with their chains, and reference manifests. Like the other minters it
shares no code with the verifier (contract `minter`): bytes are laid out, and XML is canonicalised,
a second time here.
"""
