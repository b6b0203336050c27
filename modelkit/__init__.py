"""What a model is made of and decides by, the same live, in training and in a replay: candles, features, labels, decision."""
