"""Google's certificates for keys of virtual TPMs. Start with README.md beside this file."""
