"""Leaf evidence formats, ignorant of each other."""
