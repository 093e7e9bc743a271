"""The verifier: evidence, endorsements and an instant in; claims and results out. No I/O."""
