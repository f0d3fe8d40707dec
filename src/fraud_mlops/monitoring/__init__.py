"""What happens to claims and to the model after training: drift, and performance over time."""
