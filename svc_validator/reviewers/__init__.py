"""Who reviews: what a reviewer must do, and one file for each of them."""
