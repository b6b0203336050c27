"""Runs a list of processes and an embedded PostgreSQL on one machine, from any shell, through any crash.

Nothing here knows what the processes do: names, arguments, environments and probes come from the caller.
Kept free of imports, so that the small helper processes start fast.
"""
