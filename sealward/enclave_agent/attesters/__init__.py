"""Attesters: where this machine's evidence comes from."""
