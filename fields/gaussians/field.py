"""The dynamic semantic Gaussian field: canonical Gaussians, a motion, and a feature for each (DGD)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...kernels.neighbors import nearest
from ...scenes import BadInput
from ...scenes.files import read_tensors, write_tensors
from ..field import Field, check_header
from ..motion import MOTIONS, NodeScaffold, Still
from .editing import Editing
from .lighting import between, lit
from .state import GaussianState
from .tracing import carry

FORMAT = 1

# Per-Gaussian arrays: name -> trailing shape (None: any). Density control treats them all alike.
PER_GAUSSIAN = {
    "means": (3,), "log_scales": (3,), "quats": (4,), "opacity_logits": (), "sh_dc": (1, 3), "sh_rest": (None, 3),
    "features": (None,), "classes": (None,), "light": (None,), "anchors": (),
}
LEARNED = ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest", "features", "classes", "light")


class GaussianField(Field):
    """Gaussians in a canonical pose that a motion carries through time (DGD, section 3).

    Args:
        means [N, 3], log_scales [N, 3], quats [N, 4] (wxyz), opacity_logits [N], sh_dc [N, 1, 3], sh_rest [N, K-1, 3].
        features [N, d]: semantic codes; d = 0 before any semantics.
        anchors [N] int64: the scaffold node a Gaussian is carried by; -1 stands still.
        motion: one of ``fields.motion``.
        background: colour behind everything, [3].
        classes [N, C]: shares of the classes in each Gaussian, 0..1; C = 0 before any labels.
        light [N, L]: how much brighter than 1 each Gaussian is at L times spread over the video, as what it is lit by
            changes (shadows that pass, shading as it turns); L = 0: never.

    The motion can be switched off by ``moving = False`` (warm-up with identity). ``degree`` limits the spherical
    harmonics in use.
    """

    kind = "gaussians"
    primitives = "gaussians"

    def __init__(self, means: Tensor, log_scales: Tensor, quats: Tensor, opacity_logits: Tensor, sh_dc: Tensor,
                 sh_rest: Tensor, features: Tensor | None = None, anchors: Tensor | None = None,
                 motion: torch.nn.Module | None = None, background: Tensor | None = None,
                 light: Tensor | None = None, classes: Tensor | None = None):
        super().__init__()
        count = len(means)
        values = {
            "means": means, "log_scales": log_scales, "quats": quats, "opacity_logits": opacity_logits,
            "sh_dc": sh_dc, "sh_rest": sh_rest,
            "features": torch.zeros(count, 0) if features is None else features,
            "classes": torch.zeros(count, 0) if classes is None else classes,
            "light": torch.zeros(count, 0) if light is None else light,
        }
        for name, value in values.items():
            setattr(self, name, torch.nn.Parameter(value.detach().clone().float()))
        anchors = torch.full((count,), -1) if anchors is None else anchors
        self.register_buffer("anchors", anchors.long().to(means.device))
        self.register_buffer("background", torch.zeros(3) if background is None else background.float())
        self.register_buffer("code_mean", torch.zeros(0))
        self.register_buffer("code_basis", torch.zeros(0, 0))
        self.motion = Still() if motion is None else motion
        self.degree = 0 if sh_rest.shape[1] == 0 else int((sh_rest.shape[1] + 1) ** 0.5 + 0.5) - 1
        self.moving = True
        self.edit: Editing | None = None

    @property
    def count(self) -> int:
        """Number of Gaussians."""
        return len(self.means)

    @property
    def scales(self) -> Tensor:
        """Canonical standard deviations in scene units, [N, 3]."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """Opacities 0..1, [N]."""
        return self.opacity_logits.sigmoid()

    def at(self, time: float) -> GaussianState:
        """The Gaussians posed at ``time`` (0..1), edited if there is an ``edit``."""
        return self.posed(time) if self.edit is None else self.edit(time)

    def posed(self, time: float) -> GaussianState:
        """The Gaussians posed at ``time`` (0..1), as they were learned."""
        pose = (self.means, self.quats, self.scales)
        if self.moving:
            pose = self.motion.pose(*pose, self.anchors, time)
        used = (self.degree + 1) ** 2 - 1
        sh = torch.cat([self.sh_dc, self.sh_rest[:, :used]], 1)
        if self.light.shape[1]:
            sh = lit(sh, between(self.light, time))
        features, classes = (part if part.shape[1] else None for part in (self.features, self.classes))
        return GaussianState(*pose, self.opacities, sh, features, float(time), self.background, classes)

    @torch.no_grad()
    def positions(self, times: Tensor) -> Tensor:
        """Centres of all Gaussians at ``times`` [T]: [N, T, 3]."""
        return torch.stack([self.at(float(time)).means for time in times], 1)

    @torch.no_grad()
    def trajectories(self, points: Tensor, time: float, times: Tensor) -> Tensor:
        """Where the matter at ``points`` [P, 3] at ``time`` is at ``times`` [T]: [P, T, 3] in scene units.

        Each point rides on the posed frames of the Gaussians around it; exact for rigid motion.
        """
        now = self.at(time)
        points = points.to(now.means)
        return torch.stack([carry(points, now, self.at(float(t))) for t in times], 1)

    def semantics(self) -> Tensor | None:
        """Features in the teacher's own space, [N, D]; None before any semantics."""
        return self.decode(self.features.detach()) if self.features.shape[1] else None

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [..., d] in the teacher's space [..., D]: mean + code basis where the features are compressed."""
        return codes if len(self.code_mean) == 0 else codes @ self.code_basis + self.code_mean

    def set_features(self, codes: Tensor, mean: Tensor | None = None, basis: Tensor | None = None) -> None:
        """Give every Gaussian its code [N, d]; ``mean`` [D] and ``basis`` [d, D] decode compressed codes."""
        self.features = torch.nn.Parameter(codes.detach().clone())
        if mean is not None:
            self.code_mean, self.code_basis = mean.to(codes), basis.to(codes)

    def set_classes(self, shares: Tensor, names: Sequence[str]) -> None:
        """Give every Gaussian its shares [N, C] of the classes called ``names``."""
        self.classes, self.label_names = torch.nn.Parameter(shares.detach().clone()), list(names)

    def initial_scales(self) -> None:
        """Set isotropic scales to the root mean squared distance to the three nearest neighbours (3DGS)."""
        distances, _ = nearest(self.means.detach(), min(3, max(1, self.count - 1)))
        size = distances.square().mean(-1).sqrt().clamp_min(1e-4)
        self.log_scales.data.copy_(size.log()[:, None].expand(-1, 3))

    def save(self, folder: str | Path) -> None:
        """Write ``field.safetensors`` into ``folder``, atomically."""
        write_tensors(Path(folder) / "field.safetensors", self.state_dict(), self.header())

    def header(self) -> dict[str, str]:
        """Text entries that go with the tensors: format version, kind, motion and its sizes."""
        return {
            "format": str(FORMAT), "kind": self.kind, "motion": self.motion.kind,
            "motion_settings": json.dumps(self.motion.settings()), "degree": str(self.degree),
            "label_names": json.dumps(self.label_names),
        }

    @classmethod
    def load(cls, folder: str | Path) -> GaussianField:
        """Read ``field.safetensors`` of ``folder``.

        Raises BadInput: missing or corrupt file, a newer format, another kind, tensors missing or of wrong shape.
        """
        path = Path(folder) / "field.safetensors"
        tensors, header = read_tensors(path)
        return cls.from_tensors(tensors, header, path)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], header: dict[str, str], source: str | Path) -> GaussianField:
        """Build the field from what :meth:`save` wrote; ``source`` names the file in errors."""
        check_header(header, cls.kind, FORMAT, source)
        count = len(tensors["means"]) if "means" in tensors else 0
        for name in ("light", "classes"):
            tensors.setdefault(name, torch.zeros(count, 0))  # fields saved before there were any
        if header.get("motion") == NodeScaffold.kind and "motion.centers" in tensors:
            tensors.setdefault("motion.mobility", torch.ones(len(tensors["motion.centers"])))
        for name, shape in PER_GAUSSIAN.items():
            value = tensors.get(name)
            if value is None:
                raise BadInput(f"{source}: {name}: missing")
            fits = value.dim() == 1 + len(shape) and len(value) == count
            fits = fits and all(want in (None, got) for want, got in zip(shape, value.shape[1:], strict=True))
            if not fits:
                raise BadInput(f"{source}: {name}: expected {(count, *shape)}, got {tuple(value.shape)}")
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise BadInput(f"{source}: {name}: holds NaN or infinity")
        motion = MOTIONS.get(header.get("motion", ""))
        if motion is None:
            raise BadInput(f"{source}: motion: expected {', '.join(MOTIONS)}, got {header.get('motion')!r}")
        try:
            settings = json.loads(header.get("motion_settings", "{}"))
            motion = motion.empty(**settings) if motion is NodeScaffold else motion(**settings)
        except (TypeError, ValueError) as error:
            raise BadInput(f"{source}: motion_settings: {error}") from error
        arrays = {name: tensors[name] for name in PER_GAUSSIAN}
        field = cls(**arrays, motion=motion, background=tensors.get("background"))
        field.label_names = _label_names(header, field.classes.shape[1], source)
        degree = header.get("degree", str(field.degree))
        if not degree.isdigit() or int(degree) > field.degree:
            raise BadInput(f"{source}: degree: expected 0 to {field.degree}, got {degree!r}")
        field.degree = int(degree)
        field.code_mean = tensors.get("code_mean", field.code_mean)
        field.code_basis = tensors.get("code_basis", field.code_basis)
        try:
            field.load_state_dict(tensors)
        except RuntimeError as error:
            raise BadInput(f"{source}: {' '.join(str(error).split())}") from error
        return field


def _label_names(header: dict[str, str], classes: int, source: str | Path) -> list[str]:
    """The classes' names in a header; BadInput unless there is one for each of the ``classes``."""
    try:
        names = json.loads(header.get("label_names", "[]"))
    except ValueError:
        names = None
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{source}: label_names: expected {classes} names, got {header.get('label_names')}")
    return names
