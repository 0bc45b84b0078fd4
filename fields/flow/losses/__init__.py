"""The losses of a flow field by name, each ``loss(context) -> Tensor`` (Semantic Flow's objective; its weights are in
the config). A loss whose input is missing is in ``NEEDS``."""

from __future__ import annotations

from . import color, geometry, motion, semantics, surface
from .context import Context

STATIC = {
    "static_color": color.static,
    "static_semantics": semantics.static,
    "static_depth": geometry.static_depth,
    "surface_likelihood": surface.likelihood,
    "surface_color": surface.color,
    "surface_semantics": surface.semantics,
}
DYNAMIC = {
    "color_full": color.full,
    "color_dynamic": color.dynamic,
    "color_warped": color.warped,
    "flow": motion.optical,
    "slow": motion.slow,
    "temporal": motion.temporal,
    "spatial": motion.spatial,
    "temporal_warped": motion.temporal_warped,
    "cycle": motion.cycle,
    "static_flow": motion.static,
    "known_tracks": motion.known_tracks,
    "mask": geometry.mask,
    "mask_warped": geometry.mask_warped,
    "sparsity": geometry.sparsity,
    "depth": geometry.disparity,
    "known_depth": geometry.known_depth,
    "order": geometry.order,
    "depth_blending": geometry.depth_blending,
    "semantics_full": semantics.full,
    "semantics_dynamic": semantics.dynamic,
    "semantics_warped": semantics.warped,
    "surface_likelihood": surface.likelihood,
    "surface_color": surface.color,
    "surface_semantics": surface.semantics,
    "surface_blending": surface.blending,
}
# What a loss needs of the targets, by their name and in words.
NEEDS = {
    "flow": ("flows", "optical flow between frames"),
    "depth": ("disparity", "monocular disparity (layer disparity)"),
    "depth_blending": ("disparity", "monocular disparity (layer disparity)"),
    "known_depth": ("depth", "a video whose depth can be triangulated"),
    "static_depth": ("still", "a video whose depth can be triangulated"),
    "known_tracks": ("tracks", "a video in which something moves that can be followed"),
    "semantics_full": ("labels", "label maps"),
    "semantics_dynamic": ("labels", "label maps"),
    "semantics_warped": ("labels", "label maps"),
    "static_semantics": ("labels", "label maps"),
    "surface_likelihood": ("still", "a video whose depth can be triangulated"),
    "surface_color": ("still", "a video whose depth can be triangulated"),
    "surface_semantics": ("labels", "label maps"),
    "surface_blending": ("still", "a video whose depth can be triangulated"),
}

__all__ = ["DYNAMIC", "NEEDS", "STATIC", "Context"]
