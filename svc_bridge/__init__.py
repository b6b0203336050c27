"""The bridge: recommendations from signals and from operators."""
