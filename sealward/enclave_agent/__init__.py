"""The attester: the smallest trusted code. It attests, holds leases and runs sealed models."""
