"""The controls that say whether a number can be believed: blind, null (two kinds) and planted (DESIGN 7.4 to 7.6)."""
