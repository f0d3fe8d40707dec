"""Networks that score claims: candidates, training, the model as a whole, and its reasons.

Nothing is imported here, so that `models.candidates` and `models.slots` stay light: the other
modules bring torch.
"""
