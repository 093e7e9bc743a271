"""Intel DCAP quotes of TDX and SGX. Start with README.md beside this file."""
