"""Membership inference: what an attacker is given, the adapters to the attack files, and the measuring of scores."""
