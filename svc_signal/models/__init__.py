"""The models of the live service: which serves, which challenges, and who changes that."""
