"""What a plan costs on this machine, before it runs: short timed trials of all that it names, carried on by lines."""
