"""What the simulated exchange costs."""
