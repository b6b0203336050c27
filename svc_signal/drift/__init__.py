"""Whether the live model still meets what it was trained on."""
