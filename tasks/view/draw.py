"""Plain arrays as polyscope structures."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ...fields.rendering import Rendering
from ...scenes import Camera, Frame
from .layers import Curves, Points

HEADS = "now: "  # before an object's name: where its trajectories are at present
RENDER = "render"


def draw_points(ps: ModuleType, name: str, points: Points, size: float, largest: float) -> None:
    """Points as spheres of ``size`` times their radii, none above ``largest`` scene units."""
    known = ps.has_point_cloud(name) and ps.get_point_cloud(name).n_points() == len(points.ids)
    if known:
        cloud = ps.get_point_cloud(name)
        cloud.update_point_positions(points.positions.numpy())
    else:
        # Flat: a Gaussian's colour holds the light that fell on it already.
        cloud = ps.register_point_cloud(name, points.positions.numpy(), material="flat")
    cloud.add_color_quantity("color", points.colors.numpy(), enabled=True)
    cloud.add_scalar_quantity("size", (size * points.radii).clamp(max=largest).numpy())
    cloud.set_point_radius_quantity("size", autoscale=False)


def draw_curves(ps: ModuleType, name: str, curves: Curves, radius: float) -> None:
    """Trajectories as tubes of ``radius`` in scene units, with spheres at their present ends."""
    known = ps.has_curve_network(name) and ps.get_curve_network(name).n_nodes() == len(curves.nodes)
    if known:
        network, heads = ps.get_curve_network(name), ps.get_point_cloud(HEADS + name)
        network.update_node_positions(curves.nodes.numpy())
        heads.update_point_positions(curves.heads.numpy())
    else:
        network = ps.register_curve_network(
            name, curves.nodes.numpy(), curves.edges.numpy(), material="flat"
        )
        heads = ps.register_point_cloud(HEADS + name, curves.heads.numpy(), material="clay")
    network.add_color_quantity("color", curves.colors.numpy(), enabled=True)
    network.set_radius(radius, relative=False)
    heads.add_color_quantity("color", curves.head_colors.numpy(), enabled=True)
    heads.set_radius(3 * radius, relative=False)


def draw_camera(ps: ModuleType, name: str, frame: Frame, length: float) -> None:
    """The frame's camera as a frustum of ``length`` scene units, with the picture in it."""
    view = ps.register_camera_view(
        name, parameters(ps, frame.camera), widget_color=(0.3, 0.3, 0.35), widget_thickness=0.01
    )
    view.set_widget_focal_length(length, relative=False)
    step = max(1, frame.camera.width // 160)
    picture = frame.image[::step, ::step].contiguous().numpy()
    view.add_color_image_quantity("image", picture, enabled=True, show_in_camera_billboard=True)


def draw_render(ps: ModuleType, rendering: Rendering) -> None:
    """A picture of the field, on black, over the whole window; its depth decides what it hides."""
    camera = rendering.camera
    _, rays = camera.rays()
    # polyscope wants distance from the eye, and infinity where there is nothing.
    distance = rendering.depth * rays.norm(dim=-1).to(rendering.depth)
    distance = torch.where(rendering.depth > 0, distance, torch.inf)
    picture = torch.cat([rendering.color, rendering.alpha[..., None]], -1).clamp(0, 1)
    ps.add_raw_color_alpha_render_image_quantity(
        RENDER,
        distance.cpu().numpy(),
        picture.cpu().numpy(),
        enabled=True,
        is_premultiplied=True,
        allow_fullscreen_compositing=True,
    )


def erase_render(ps: ModuleType) -> None:
    """Take the field's picture away."""
    ps.FloatingQuantityStructure().remove_quantity(RENDER)


def parameters(ps: ModuleType, camera: Camera):
    """``camera`` as polyscope describes one (a principal point off the middle is left out)."""
    intrinsics = ps.CameraIntrinsics(
        fov_vertical_deg=vertical_fov(camera), aspect=camera.width / camera.height
    )
    extrinsics = ps.CameraExtrinsics(
        root=camera.center.numpy(), look_dir=camera.forward.numpy(),
        up_dir=-camera.viewmat[1, :3].numpy(),
    )
    return ps.CameraParameters(intrinsics, extrinsics)


def look_through(ps: ModuleType, camera: Camera) -> None:
    """Make ``camera`` the present view."""
    ps.set_vertical_fov_degrees(vertical_fov(camera))
    up = -camera.viewmat[1, :3]
    ps.look_at_dir(camera.center.numpy(), (camera.center + camera.forward).numpy(), up.numpy())


def present_camera(ps: ModuleType, width: int) -> Camera:
    """The present view as a camera with pictures ``width`` pixels wide."""
    view = ps.get_view_camera_parameters()
    height = max(1, round(width / view.get_aspect()))
    focal = 0.5 * height / math.tan(math.radians(view.get_fov_vertical_deg()) / 2)
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    # OpenGL's cameras look along -z with y up.
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    return Camera(K, torch.from_numpy(flip @ view.get_view_mat()).float(), width, height)


def vertical_fov(camera: Camera) -> float:
    """Vertical field of view in degrees."""
    return math.degrees(2 * math.atan(0.5 * camera.height / camera.K[1, 1].item()))


def robust_box(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper corner [3] of the box of the middle 96% of points [N, 3], never flat."""
    sample = positions[:: max(1, len(positions) // 100_000)]
    if len(sample) == 0:
        return torch.zeros(3), torch.ones(3)
    low, high = torch.quantile(sample, torch.tensor([0.02, 0.98]), dim=0)
    return low, torch.maximum(high, low + 1e-3)
