"""Solvers that the methods share: each minimises the loss of a problem and a kind of penalty."""
