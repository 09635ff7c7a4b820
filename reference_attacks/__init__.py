"""Published attacks on trained image classifiers, one readable file per method.

    membership/   who was in the training set: arrays of signals in, one score per record out (larger = member)
    inversion/    what the training data looked like: a differentiable model in, images out
    priors/       what an attacker may know about images beforehand

An attack returns material and never measures itself: no metrics, no plots, no files, no choice of device. Nothing here
imports the auditor, so each file can be read, tested and used on its own.
"""
