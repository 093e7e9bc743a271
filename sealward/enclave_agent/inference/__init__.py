"""Sealed model workers and the server in front of them."""
