"""Oriented object detection in aerial images with vision-language models."""

__version__ = "0.1.0"
