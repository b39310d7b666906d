"""What a model computes, read off its trace: its steps, and which pixels a value depends on."""
