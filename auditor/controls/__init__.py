"""The controls that say whether a number can be believed: blind, null (two kinds) and planted (rules 4 to 6)."""
