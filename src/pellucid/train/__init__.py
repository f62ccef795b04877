"""Training: makes the weights. Needs the extras `[torch,train]`."""
