"""What every trained system shares: hash embedding, sampled softmax with logQ, count-min sketch, training loop."""
