"""What models are asked; imports nothing, so that ``train --help`` can show it at once."""

PUBLISHED_PROMPT = "Locate the objects tightly with quad boxes and category names in the image."
