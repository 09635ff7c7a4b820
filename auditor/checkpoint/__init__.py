"""Everything between the disk and a `Target`: weights, `config.json`, architecture, preprocessing, wrapper sidecar.

Files are hostile until shown otherwise: nothing here runs code from a checkpoint unless the user said to trust it, and
whatever cannot be used ends in an `InputError` that names the file and the remedy.
"""
