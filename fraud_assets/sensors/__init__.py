"""What happens outside, and what follows from it."""
