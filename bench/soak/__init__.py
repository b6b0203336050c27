"""Half an hour of trading with a death of everyone: what the drill's checker finds, and what memory does."""
