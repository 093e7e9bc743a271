"""Bounded, strict readers of hostile bytes: the only place that slices outside data."""
