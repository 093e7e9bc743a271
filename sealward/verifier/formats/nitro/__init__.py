"""AWS Nitro Enclaves attestation documents. Start with README.md beside this file."""
