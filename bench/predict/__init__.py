"""How long a prediction takes: flat arrays against the stock estimator."""
