"""The agents' gRPC contract and the code generated from it."""
