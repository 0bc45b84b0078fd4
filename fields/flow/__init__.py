"""Semantic flow: semantics read along trajectories, rendered by densities (Tian et al., ICLR 2024)."""
