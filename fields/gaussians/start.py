"""The first field of a scene: where its Gaussians begin and how they may move."""

from __future__ import annotations

from ...scenes import PointCloud, Scene
from ..motion import DeformationNetwork, NodeNetwork
from ..motion.lifted import moving_nodes
from .config import FitConfig
from .field import GaussianField
from .initialize import anchor, from_points, random_points


def start_field(scene: Scene, config: FitConfig) -> GaussianField:
    """Gaussians at the scene's points, or at points triangulated from its video, with the motion of ``config``.

    A video in which nothing moves gets no motion. Where nothing can be triangulated (synthetic objects before an empty
    background), uniform random points are used, as D-NeRF scenes are started. Brightness changes over time only in a
    video: to frames that jump it would mean one brightness for each, which views held out do not have.
    """
    from ...scenes.motion.jumps import jumping
    from ...scenes.motion.points import initial_points

    points = initial_points(scene, config.initial_points)
    if len(points) < 100:
        points = random_points(scene, config.initial_points, seed=config.seed)
    style = {"background": scene.background, "lights": 0 if jumping(scene) else config.lights}
    if config.motion in ("network", "nodes"):
        motion = {"network": DeformationNetwork, "nodes": NodeNetwork}[config.motion](
            depth=config.network_depth, width=config.network_width, time_frequencies=config.time_frequencies,
            time_network=config.time_network,
        )
        anchors = motion.settle(points.positions) if config.motion == "nodes" else None
        return from_points(points, config.sh_degree, motion, anchors, **style)
    scaffold = None
    if config.motion == "scaffold" and not jumping(scene):
        scaffold = moving_nodes(scene)
    if scaffold is None:
        return from_points(PointCloud(points.positions, points.colors), config.sh_degree, **style)
    positions, anchors = anchor(points, scaffold)
    return from_points(PointCloud(positions, points.colors), config.sh_degree, scaffold, anchors, **style)
