"""The orchestrator: takes each recommendation through review, risk and execution to one terminal state."""
