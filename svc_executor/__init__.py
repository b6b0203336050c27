"""The executor: at most one order per recommendation, and the books that follow from its fills."""
