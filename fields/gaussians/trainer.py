"""The optimisation of a dynamic semantic Gaussian field on a scene."""

from __future__ import annotations

import time as clock
from pathlib import Path

import torch
from torch import Tensor

from ...kernels import splat
from ...scenes import Scene
from ...scenes.files import BadInput, read_tensors, write_tensors
from ..checkpoints import adam_tensors, restore_adam
from ..losses import area_average, feature_distance, photometric
from . import optimizer as adam
from .config import FitConfig
from .density import DensityControl
from .field import LEARNED, GaussianField
from .lighting import unevenness
from .poses import corrected, refined
from .semantics import lift, render_features

MOVING_EVERY = 3  # iterations between two looks at the motion masks


class Trainer:
    """Fits ``field`` to the training frames of ``scene``.

    Args:
        field: what is learned, already initialised, on the device to train on.
        scene: frames with cameras and times; on the CPU, as ``maps`` and ``flows`` are.
        config: schedules and weights.
        maps: teacher maps of the training frames ([h, w, d] each), for joint distillation.
        flows: forward optical flow [T-1, H, W, 2] and its validity [T-1, H, W], for the flow loss.
        moving: motion masks of the training frames [T, H, W] bool, for the loss of that name.
    """

    def __init__(self, field: GaussianField, scene: Scene, config: FitConfig, maps=None,
                 flows: tuple[Tensor, Tensor] | None = None, moving: Tensor | None = None):
        self.field, self.scene, self.config, self.maps, self.flows = field, scene, config, maps, flows
        self.moving = moving
        self.frames = scene.split("train")
        self.cameras = scene.cameras
        self.images = [frame.image for frame in self.frames]
        self.device = field.means.device
        self.poses = torch.nn.Parameter(torch.zeros(len(self.frames), 6, device=self.device))
        self.extent = size(scene, field)
        self.optimizer = adam.build(field, config, self.poses)
        self.density = self._density_control()
        self.generator = torch.Generator().manual_seed(config.seed)
        self.iteration = 0
        self.queue: list[int] = []
        self.seconds = 0.0
        self.lifted = False

    @property
    def finished(self) -> bool:
        """Whether all iterations are done."""
        return self.iteration >= self.config.iterations

    def step(self) -> dict[str, float]:
        """One iteration on one random frame; returns its loss terms and PSNR."""
        started = clock.perf_counter()
        config, field = self.config, self.field
        self.iteration += 1
        adam.schedule(self.optimizer, config, self.iteration, config.position_scale or self.extent)
        field.moving = self.iteration > config.warmup
        field.degree = min(config.sh_degree, self.iteration // config.sh_every)
        index = self._next_frame()
        frame, camera = self.frames[index], self.cameras[index].to(self.device)
        state = field.at(frame.time + self._time_noise())
        viewmat = camera.viewmat[None]
        if config.pose_rate:
            viewmat = corrected(camera.viewmat, self.poses[index])[None]
        image, _, meta = splat.rasterization(
            *state.geometry, state.sh, viewmat, camera.K[None], camera.width, camera.height, sh_degree=field.degree,
            backgrounds=field.background[None], packed=False, absgrad=config.absolute_gradient,
        )
        meta["means2d"].retain_grad()
        image, target = image.squeeze(0), self.images[index].to(self.device)
        terms = {"color": photometric(image, target, config.ssim)}
        terms |= self._motion_terms(index, state)
        if field.light.shape[1] and config.light_weight:
            terms["light"] = config.light_weight * unevenness(field.light)
        if self._distilling():
            grid = self.maps[index].to(self.device)
            rendered = render_features(field, field.features, camera, frame.time, *grid.shape[:2])
            terms["features"] = config.feature_weight * feature_distance(rendered, grid.float())
        loss = sum(terms.values())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.iteration < config.densify_until:
            self.density.observe(meta)
        adam.step(self.optimizer, field.motion)
        if self.density.due(self.iteration):
            self.density.adapt(self.iteration)
        every = config.opacity_reset_every
        if every and self.iteration % every == 0 and self.iteration < config.densify_until:
            self.density.reset_opacities()
        error = (image.detach().clamp(0, 1) - target).square().mean()
        self.seconds += clock.perf_counter() - started
        logged = {name: float(value.detach()) for name, value in terms.items()}
        return {"loss": float(loss.detach()), **logged, "psnr": float(-10 * torch.log10(error.clamp_min(1e-12)))}

    def _density_control(self) -> DensityControl:
        centers = torch.stack([camera.center for camera in self.cameras])
        return DensityControl(self.field, self.optimizer, self.config, self.extent, centers)

    def _next_frame(self) -> int:
        if not self.queue:
            self.queue = torch.randperm(len(self.frames), generator=self.generator).tolist()
        return self.queue.pop()

    def _time_noise(self) -> float:
        """Annealed smooth training: noise in time that fades linearly (Deformable 3D Gaussians, eq. 8)."""
        config = self.config
        if not config.time_noise or self.iteration >= config.time_noise_until:
            return 0.0
        fade = 1.0 - self.iteration / config.time_noise_until
        return float(torch.randn((), generator=self.generator)) * config.time_noise * fade / len(self.frames)

    def _motion_terms(self, index: int, state) -> dict[str, Tensor]:
        config, motion = self.config, self.field.motion
        terms = {}
        if not self.field.moving:
            return terms
        if config.rigidity and hasattr(motion, "rigidity"):
            terms["rigidity"] = config.rigidity * motion.rigidity() / self.extent**2 * 100
        if config.smoothness and hasattr(motion, "roughness"):
            terms["smoothness"] = config.smoothness * motion.roughness() / self.extent**2 * 100
        if self.moving is not None and config.moving and self.iteration % MOVING_EVERY == 0:
            terms["moving"] = config.moving * MOVING_EVERY * self._moving_error(index, state)
        if self.flows is not None and self.iteration <= config.flow_until and index + 1 < len(self.frames):
            terms["flow"] = config.flow * self._flow_error(index, state)
        return terms

    def _moving_error(self, index: int, state) -> Tensor:
        """Mean absolute difference of what the moving Gaussians cover and the motion mask, at half resolution."""
        camera = self.cameras[index]
        half = camera.resized(camera.width // 2, camera.height // 2)
        moves = (self.field.anchors >= 0).to(state.means)[:, None]
        cover = state.render(half, channels=(), values=moves).values[..., 0]
        mask = area_average(self.moving[index].to(cover)[..., None], half.height, half.width)[..., 0]
        return (cover - mask).abs().mean()

    def _flow_error(self, index: int, state) -> Tensor:
        """Mean absolute difference, in pixels, of the flow that the motion induces and the video's optical flow."""
        here, there = (self.cameras[k].to(self.device) for k in (index, index + 1))
        following = self.field.at(self.frames[index + 1].time)
        start, depth = here.project(state.means)
        end, depth_after = there.project(following.means)
        ahead = ((depth > 0.05) & (depth_after > 0.05))[:, None]
        induced = torch.where(ahead, end - start, torch.zeros_like(start))
        half = here.resized(here.width // 2, here.height // 2)
        rendering = state.render(half, channels=(), values=induced)
        flow, valid = (part[index].to(self.device) for part in self.flows)
        flow = flow[: half.height * 2 : 2, : half.width * 2 : 2]
        weight = valid[: half.height * 2 : 2, : half.width * 2 : 2] * (rendering.alpha.detach() > 0.5)
        error = (rendering.values - flow * rendering.alpha[..., None].detach()).abs().sum(-1)
        return (error.clamp_max(10.0) * weight).sum() / weight.sum().clamp_min(1.0)

    def _distilling(self) -> bool:
        config = self.config
        if config.semantics != "distill" or self.maps is None or self.iteration <= config.feature_from:
            return False
        if not self.lifted:
            self.lift(sweeps=0)
        return True

    def lift(self, sweeps: int, progress=None) -> None:
        """Give the Gaussians codes lifted from the teacher maps (no training)."""
        codes = lift(self.field, self.refined_cameras(), self.scene.times, self.maps, sweeps, progress)
        old = self.field.features
        self.field.set_features(codes)
        adam.replace(self.optimizer, "features", self.field.features, old)
        self.lifted = True

    def refined_cameras(self) -> list:
        """The training cameras with the learned corrections."""
        if not self.config.pose_rate:
            return self.cameras
        return [refined(camera, delta) for camera, delta in zip(self.cameras, self.poses, strict=True)]

    def save_checkpoint(self, path: str | Path) -> None:
        """Everything needed to go on, in one safetensors file."""
        tensors = {f"field.{name}": value for name, value in self.field.state_dict().items()}
        tensors |= adam_tensors(self.optimizer)
        tensors |= {
            "poses": self.poses, "random": self.generator.get_state(), "global_random": torch.get_rng_state(),
            "density.gradient": self.density.gradient, "density.views": self.density.views,
            "queue": torch.tensor(self.queue, dtype=torch.int64),
        }
        if self.moving is not None:
            tensors["moving"] = self.moving
        header = self.field.header() | {
            "iteration": str(self.iteration), "seconds": str(self.seconds), "lifted": str(int(self.lifted)),
            "extent": repr(self.extent),
        }
        write_tensors(path, tensors, header)

    def load_checkpoint(self, path: str | Path) -> None:
        """Go on from what :meth:`save_checkpoint` wrote; BadInput when it does not fit this run."""
        tensors, header = read_tensors(path)
        saved = {name[6:]: value for name, value in tensors.items() if name.startswith("field.")}
        self.field = GaussianField.from_tensors(saved, header, path).to(self.device)
        try:
            if tensors["poses"].shape != self.poses.shape:
                raise BadInput(
                    f"{path}: poses: expected {len(self.poses)} training frames, got {len(tensors['poses'])}"
                )
            self.poses = torch.nn.Parameter(tensors["poses"].to(self.device))
            self.optimizer = adam.build(self.field, self.config, self.poses)
            restore_adam(self.optimizer, tensors)
            self.extent = float(header["extent"])
            self.density = self._density_control()
            self.density.gradient = tensors["density.gradient"].to(self.device)
            self.density.views = tensors["density.views"].to(self.device)
            self.generator.set_state(tensors["random"])
            torch.set_rng_state(tensors["global_random"])
            self.queue = [int(index) for index in tensors["queue"]]
            self.moving = tensors.get("moving")
            self.iteration, self.seconds = int(header["iteration"]), float(header["seconds"])
            self.lifted = bool(int(header["lifted"]))
        except KeyError as error:
            raise BadInput(f"{path}: {error.args[0]}: missing; not a checkpoint of this version") from error
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadInput(f"{path}: not a checkpoint of this version: {' '.join(str(error).split())}") from error


def size(scene: Scene, field: GaussianField) -> float:
    """The length that rates and thresholds are relative to, in scene units: the extent of the cameras (3DGS), but at
    least half the median distance of the Gaussians from them. A camera that turns in place has no extent."""
    middle = torch.stack([camera.center for camera in scene.cameras]).mean(0)
    distance = (field.means.detach() - middle.to(field.means)).norm(dim=-1).median()
    return max(scene.extent, 0.5 * float(distance))


def learned_bytes(field: GaussianField) -> int:
    """Bytes of everything learned."""
    names = [getattr(field, name) for name in LEARNED] + list(field.motion.parameters())
    return sum(value.numel() * value.element_size() for value in names)
