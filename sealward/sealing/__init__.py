"""Sealed models: the container, its keys and the HPKE contexts around them.

Used by owner, control plane and agent; reads no clock, environment, path or socket.
"""
