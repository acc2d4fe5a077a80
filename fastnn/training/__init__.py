"""Training: settings, the loop over epochs, what is recorded, checkpoints."""
