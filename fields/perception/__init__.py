"""Generalised perception: colour, semantics and instances of scenes never seen, from reference views (GP-NeRF, 2024)."""
