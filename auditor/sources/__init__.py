"""Where the records of a role come from: which files play it (`entries`), and how they are read.

Encoded images come from a folder, from parquet or arrow, or from tar shards, one small `images.ImageSource` each; from
there on they take one way: headers, form, decoding. Arrays come as they are.
"""
