"""The shared RATS vocabulary (RFC 9334): evidence envelope, binding, claims, results, errors."""
