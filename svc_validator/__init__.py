"""svc_validator: reviews entries before the risk engine sees them; it can refuse one, never widen or revive one."""
