"""Certificate chains to pinned roots, permitted algorithms and dates at a given instant."""
