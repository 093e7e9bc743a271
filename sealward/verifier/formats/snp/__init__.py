"""AMD SEV-SNP attestation reports. Start with README.md beside this file."""
