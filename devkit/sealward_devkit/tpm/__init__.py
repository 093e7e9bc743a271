"""A machine with a TPM and no firmware: swtpm, and a stand-in for what a boot measures."""
