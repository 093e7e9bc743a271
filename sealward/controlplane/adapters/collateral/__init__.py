"""Collateral from outside: what vendors publish, how it is verified, and how it is fetched."""
