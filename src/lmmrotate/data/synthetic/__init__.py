"""Procedural aerial-like scenes with exact oriented boxes: no download, any size, any amount."""
