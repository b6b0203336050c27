"""The whole mesh measured through its own RPCs, beside what else could do the work: `python -m bench.pipeline`."""
