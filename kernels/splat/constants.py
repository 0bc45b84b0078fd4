"""Numbers that define the image formation, as in 3D Gaussian Splatting (Kerbl et al. 2023) and gsplat."""

ALPHA_MAX = 0.999  # opacity of one Gaussian at a pixel is clamped here; no gradient beyond
ALPHA_MIN = 1.0 / 255.0  # contributions below are skipped
TRANSMITTANCE_MIN = 1e-4  # the Gaussian that would bring a pixel to this or below is left out, and the pixel is done
TILE = 16  # pixels along the edge of a tile
CELL = TILE // 2  # and of the cells that weights are summed over
FOV_MARGIN = 0.3  # the projection's Jacobian is held constant beyond (1 + this) of the half field of view
EXTENT_SLACK = 1.0 / 64.0  # pixels added to an ellipse's extent, so that rounding never loses a pixel
