"""Statistics for audits: what a list of scores can and cannot say. NumPy and SciPy only; knows nothing of models.

Everywhere: `scores` is float [record] with larger meaning "more likely a member", `membership` is bool [record],
`groups` is int [record] (records of one person, near-duplicates) or None when every record stands for itself.

`roc` draws, `auc` and `low_fpr` judge, `intervals` holds proportions and means, `multiplicity` corrects for many
tests, `halves` splits records for choosing and telling, `power` says what could have been found.
"""
