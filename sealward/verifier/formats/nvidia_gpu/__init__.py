"""NVIDIA GPU and NVSwitch evidence, and its reference manifests. Start with README.md here."""
