"""The shared vocabulary of the trade: exact numbers, products, bars, ids, states and reasons."""
