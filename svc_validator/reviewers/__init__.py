"""Adapters to reviewers outside of this process."""
