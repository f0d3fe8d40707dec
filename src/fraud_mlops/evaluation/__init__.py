"""How good a model is, and what is done with it: metrics, calibration, threshold, gate.

Everything here takes arrays of labelled claims and gives figures; nothing reads a file or
knows a model. A score is any number that rises with suspicion; a logit is the score that
calibration and threshold are made for.
"""
