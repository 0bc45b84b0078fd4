"""Every reader on real clips: geometry that only right cameras can show."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from semaflow.scenes import load

DATA = os.environ.get("SEMAFLOW_DATA")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA, reason="SEMAFLOW_DATA names no folder of real clips"),
]


def clip(name, **options):
    return load(Path(DATA) / name, **options)


def matches(a, b):
    """SIFT matches between two frames: pixels [M, 2] in each."""
    sift = cv2.SIFT_create(1500)
    found = []
    for frame in (a, b):
        grey = cv2.cvtColor((frame.image.numpy() * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        found.append(sift.detectAndCompute(grey, None))
    (keys_a, codes_a), (keys_b, codes_b) = found
    pairs = cv2.BFMatcher().knnMatch(codes_a, codes_b, k=2)
    good = [one for one, two in pairs if one.distance < 0.75 * two.distance]
    pixels_a = torch.tensor([keys_a[match.queryIdx].pt for match in good]) + 0.5
    return pixels_a, torch.tensor([keys_b[match.trainIdx].pt for match in good]) + 0.5


def epipolar(a, b, pixels_a, pixels_b):
    """Distances [M] in pixels of ``pixels_b`` from the epipolar lines of ``pixels_a``; for matches
    within 2 pixels, whether they meet in front of both cameras."""
    relative = b.viewmat @ torch.linalg.inv(a.viewmat)
    x, y, z = relative[:3, 3].tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    F = torch.linalg.inv(b.K).T @ cross @ relative[:3, :3] @ torch.linalg.inv(a.K)
    ones = torch.ones(len(pixels_a), 1)
    lines = torch.cat([pixels_a, ones], 1) @ F.T
    off = (torch.cat([pixels_b, ones], 1) * lines).sum(1).abs() / lines[:, :2].norm(dim=1)
    near = off < 2
    projections = [(camera.K @ camera.viewmat[:3]).double().numpy() for camera in (a, b)]
    pixels = [p[near].double().numpy().T for p in (pixels_a, pixels_b)]
    meeting = torch.tensor(cv2.triangulatePoints(*projections, *pixels))
    points = (meeting[:3] / meeting[3]).T.float()
    return off, (a.project(points)[1] > 0) & (b.project(points)[1] > 0)


@pytest.mark.parametrize(
    "name, first, second, most",
    [
        ("davis/train", 0, 6, 0.3),
        ("nvidia_balloon1", 0, 4, 0.6),
        ("nrnerf_hand", 29, 35, 0.4),  # the hand itself moves
        ("static_fox", 0, 2, 0.3),
    ],
)
def test_matches_lie_on_epipolar_lines(name, first, second, most):
    scene = clip(name, holdout=0)
    a, b = scene.split("train")[first], scene.split("train")[second]
    off, ahead = epipolar(a.camera, b.camera, *matches(a, b))
    assert len(off) > 50
    assert off.median() < most
    assert ahead.float().mean() > 0.95


def test_panoptic_cameras_agree():
    """Two cameras far apart at one time; half of the matches across such a baseline are right."""
    frames = {frame.name: frame for frame in clip("panoptic_basketball_a").frames}
    a, b = frames["7_000003"], frames["22_000003"]
    off, ahead = epipolar(a.camera, b.camera, *matches(a, b))
    assert off.median() < 1 and ahead.all()


@pytest.mark.parametrize("name", ["davis/parkour", "davis/train"])
def test_sparse_points_fall_on_their_observations(name):
    """COLMAP's own observations of its points, read here from the file."""
    scene = clip(name, holdout=0)
    model = Path(DATA) / name / "sparse/0"
    points = [line for line in (model / "points3D.txt").read_text().splitlines() if line[0] != "#"]
    place = {int(line.split()[0]): index for index, line in enumerate(points)}
    lines = [line for line in (model / "images.txt").read_text().splitlines() if line[:1] != "#"]
    frames = {frame.name: frame for frame in scene.frames}
    errors = []
    for head, row in list(zip(lines[::2], lines[1::2], strict=False))[::10]:
        seen = np.array(row.split(), float).reshape(-1, 3)
        seen = seen[seen[:, 2] >= 0]
        index = [place[int(point)] for point in seen[:, 2]]
        camera = frames[Path(head.split()[9]).stem].camera
        pixels, depth = camera.project(scene.points.positions[index])
        assert (depth > 0).all()
        errors.append((pixels - torch.tensor(seen[:, :2])).norm(dim=1))
    assert torch.cat(errors).mean() < 0.5  # COLMAP itself says 0.32 and 0.25


def carved(frames, center, width, count=64):
    """Points of a grid that all masks contain: the visual hull, [P, 3]."""
    axis = torch.linspace(-width / 2, width / 2, count)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3) + center
    for frame in frames:
        pixels, _ = frame.camera.project(grid)
        x, y = pixels.long().clamp(min=0).T
        inside = (pixels >= 0).all(1) & (x < frame.camera.width) & (y < frame.camera.height)
        y, x = y.clamp(max=frame.camera.height - 1), x.clamp(max=frame.camera.width - 1)
        grid = grid[~inside | frame.mask[y, x]]
    return grid


def overlap(points, frame, radius):
    """IoU of the frame's mask and the points, each grown to a disc of ``radius`` pixels."""
    shown = np.zeros(frame.mask.shape, np.uint8)
    for x, y in frame.camera.project(points)[0].long().tolist():
        cv2.circle(shown, (x, y), radius, 1, -1)
    shown = torch.from_numpy(shown).bool()
    return ((shown & frame.mask).sum() / (shown | frame.mask).sum()).item()


def test_dnerf_silhouettes_agree():
    """The hull of the training masks around a test time fills the test view's mask."""
    scene = clip("dnerf_mutant")
    test = scene.split("test")[8]
    near = [frame for frame in scene.split("train") if abs(frame.time - test.time) < 0.05]
    assert overlap(carved(near, torch.zeros(3), 3.0), test, radius=4) > 0.85


def test_gold_cape_silhouettes_agree():
    scene = clip("static_gold_cape", holdout=2, max_width=240)
    forward = torch.stack([camera.forward for camera in scene.cameras])
    centers = torch.stack([camera.center for camera in scene.cameras])
    aside = torch.eye(3) - forward[:, :, None] * forward[:, None]
    middle = torch.linalg.solve(aside.sum(0), (aside @ centers[..., None]).sum(0)).squeeze()
    hull = carved(scene.split("train"), middle, 2.0)
    scores = [overlap(hull, frame, radius=3) for frame in scene.split("test")[::5]]
    assert min(scores) > 0.8


def test_balloon_flow_follows_the_labels():
    """Flow takes the balloon of one frame onto the balloon of the next."""
    scene = clip("nvidia_balloon1", label_names=["background", "person", "balloon"])
    a, b = scene.frames[:2]
    y, x = torch.nonzero(a.label == scene.label_names.index("balloon")).T
    to = (torch.stack([x, y], -1) + 0.5 + a.flow_forward[y, x]).long()
    inside = ((to >= 0) & (to < torch.tensor([480, 270]))).all(1)
    landed = b.label[to[inside, 1], to[inside, 0]]
    assert (landed == 2).float().mean() > 0.95
    back = b.flow_backward[to[inside, 1], to[inside, 0]] + a.flow_forward[y, x][inside]
    assert back.norm(dim=-1).median() < 1.5  # RAFT's own consistency here is 0.96 px


@pytest.mark.parametrize(
    "name, format, train, test",
    [
        ("davis/parkour", "colmap", 44, 6),
        ("davis/camel", "davis", 40, 5),
        ("davis/cows/images", "frames", 23, 3),
        ("nvidia_balloon1", "llff", 12, 11),
        ("dnerf_mutant", "dnerf", 150, 20),
        ("nrnerf_hand", "nrnerf", 85, 1),
        ("static_fox", "transforms", 44, 6),
        ("panoptic_basketball_a", "panoptic", 40, 120),
    ],
)
def test_formats_are_recognised(name, format, train, test):
    scene = clip(name)
    assert (scene.format, len(scene.train), len(scene.test)) == (format, train, test)
    assert scene.times == sorted(scene.times) and scene.times[0] == 0 and scene.times[-1] == 1
    frame = scene.split("test")[-1]
    assert frame.image.shape == (frame.camera.height, frame.camera.width, 3)
