"""The `mesh` command: starts, watches, explains and stops the whole pipeline on one machine."""
