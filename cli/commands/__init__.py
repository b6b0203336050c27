"""The commands of `mesh`, one file each. Each imports what it needs when it runs, so that `mesh --help` is quick."""
