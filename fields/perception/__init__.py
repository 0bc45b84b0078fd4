"""Generalised perception: colours and semantics of scenes never seen, from views of them (GP-NeRF, CVPR 2024)."""
