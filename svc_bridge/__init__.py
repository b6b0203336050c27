"""The bridge: from signals, or an operator's idea, to recommendations."""
