"""Quads, rotated boxes, and how much they overlap. numpy in and out; the loops are compiled by numba."""
