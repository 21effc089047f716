"""Boxes to text and back, one module per response format."""
