"""Training: the loop, its step and state, checkpoints and workdirs."""
