"""Model inversion: what does the model reveal of how its training data looked?

An attack takes a callable from images [image, channel, height, width] in 0..1 to logits [image, class] and returns the
images that it rebuilt; whether they resemble anyone is measured elsewhere.
"""
