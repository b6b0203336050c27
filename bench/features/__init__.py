"""How fast the 51 features are made, beside TA-Lib in the same run."""
