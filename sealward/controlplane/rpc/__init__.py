"""The agents' gRPC listeners."""
