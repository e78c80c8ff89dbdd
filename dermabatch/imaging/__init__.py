"""From the bytes of a file to the pixels a network sees."""
