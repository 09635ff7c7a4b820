"""Image priors: what an attacker learns from public data before it looks at the target."""
