"""The monitor: is everything alive, who must act, and the page that shows it."""
