"""Tracks matched anew to one picture of each point, so that the errors of chained flow do not add up.

Once the motion of a body is roughly known, the patch around a point in the frame that shows it best can be warped to
every other frame and aligned there (Lucas & Kanade 1981, as inverse compositional steps: Baker & Matthews 2004).
"""

from __future__ import annotations

import numpy as np

from .rigid import RigidBody
from .sightings import Sightings

HALF = 4  # pixels of a patch to each side
STEPS = 10
LIKE = 0.8  # correlation from which on two patches are the same
FARTHEST = 3.0  # pixels that a point may be away from where the body's motion puts it
FACING = 0.15  # cosine between a surface and the line of sight up to which it is too slanted


def rematched(body: RigidBody, grays, masks: np.ndarray, views: Sightings) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [K, F, 2] and visibility [K, F] of the members of ``body`` in its frames.

    A point is also found where its track had been lost, and lost where nothing like its patch is seen.

    Args:
        grays: T images [H, W]; masks: [T, H, W] moving pixels.
    """
    frames, count = body.frames, len(body.members)
    V, K = views.viewmats[frames], views.Ks[frames]
    height, width = masks.shape[1:]
    images = [np.asarray(grays[f], np.float32) for f in frames]
    normals = _normals(body)
    sight = body.positions - views.eyes[frames]
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    facing = -np.einsum("fij,kj,kfi->kf", body.rotations, normals, sight)
    seen = views.visible[np.ix_(body.members, frames)]
    toward = np.sign(np.where(seen, facing, 0).sum(1))
    normals, facing = normals * toward[:, None], facing * toward[:, None]
    best = np.where(seen, facing, -np.inf).argmax(1)
    spots = views.pixels[np.ix_(body.members, frames)]
    out, found = np.full((count, len(frames), 2), np.nan), np.zeros((count, len(frames)), bool)
    grid = np.stack(np.meshgrid(*[np.arange(-HALF, HALF + 1.0)] * 2), -1).reshape(-1, 2)
    templates, slopes = _templates(images, best, spots[np.arange(count), best], grid)
    corners = _on_surface(body, normals, best, spots[np.arange(count), best], V, K)
    inverse = np.linalg.inv(slopes.transpose(0, 2, 1) @ slopes + 1e-3 * np.eye(2))
    textured = np.linalg.eigvalsh(slopes.transpose(0, 2, 1) @ slopes)[:, 0] > len(grid)
    for j, image in enumerate(images):
        world = corners @ body.rotations[j].T + body.places[j]
        local = world @ V[j, :3, :3].T + V[j, :3, 3]
        projected = (local / np.maximum(local[..., 2:], 1e-3)) @ K[j].T
        start = projected[:, 0, :2]
        warp = (projected[:, 1:, :2] - projected[:, :1, :2]).transpose(0, 2, 1)
        place, likeness = _aligned(image, start, warp, grid, templates, slopes, inverse)
        column = np.nan_to_num(place).astype(int)
        inside = ((place >= 0) & (place < [width, height])).all(1)
        column = np.clip(column, 0, [width - 1, height - 1])
        moving = masks[frames[j]][column[:, 1], column[:, 0]]
        near = np.linalg.norm(place - start, axis=1) < FARTHEST
        shown = (facing[:, j] > FACING) & (np.abs(np.linalg.det(warp)) > 0.2)
        found[:, j] = inside & moving & near & shown & textured & (likeness > LIKE)
        out[found[:, j], j] = place[found[:, j]]
    return out, found


def _normals(body: RigidBody, around: int = 8) -> np.ndarray:
    """Unit normals [K, 3] of the surface through the points, of either sign."""
    gaps = np.linalg.norm(body.points[:, None] - body.points[None], axis=-1)
    near = body.points[np.argsort(gaps, 1)[:, : min(around, len(gaps))]]
    near = near - near.mean(1, keepdims=True)
    return np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][..., 0]


def _on_surface(body, normals, best, spots, V, K) -> np.ndarray:
    """In the body [K, 3, 3]: the points seen at ``spots`` [K, 2] of frames ``best``, and one pixel right and below,
    on the planes through the body's points."""
    R, V, K = body.rotations[best], V[best], K[best]
    rays = spots[:, None] + np.array([[0, 0], [1, 0], [0, 1.0]])
    rays = np.concatenate([rays, np.ones_like(rays[..., :1])], -1)
    rays = np.einsum("kij,kcj->kci", np.linalg.inv(K), rays)
    rays = np.einsum("kji,kcj->kci", R, np.einsum("kji,kcj->kci", V[:, :3, :3], rays))
    eyes = -np.einsum("kji,kj->ki", V[:, :3, :3], V[:, :3, 3]) - body.places[best]
    eyes = np.einsum("kji,kj->ki", R, eyes)
    ahead = np.einsum("ki,ki->k", normals, body.points - eyes)
    slant = np.einsum("ki,kci->kc", normals, rays)
    slant = np.where(np.abs(slant) < 1e-6, 1e-6, slant)
    return eyes[:, None] + (ahead[:, None] / slant)[..., None] * rays


def _templates(images, best, spots, grid) -> tuple[np.ndarray, np.ndarray]:
    """Patches [K, P] of mean 0 and length 1 around ``spots``, times their contrast, and their slopes [K, P, 2]."""
    from .flow import sample

    patches = np.zeros((len(spots), 3, len(grid)))
    for k, (frame, spot) in enumerate(zip(best, spots, strict=True)):
        around = spot + grid
        patches[k, 0] = sample(images[frame], around)
        for axis in (0, 1):
            step = np.eye(2)[axis] * 0.5
            patches[k, 1 + axis] = sample(images[frame], around + step) - sample(images[frame], around - step)
    return patches[:, 0] - patches[:, 0].mean(1, keepdims=True), patches[:, 1:].transpose(0, 2, 1)


def _aligned(image, start, warp, grid, templates, slopes, inverse) -> tuple[np.ndarray, np.ndarray]:
    """Where [K, 2] in ``image`` the patches are, looked for from ``start`` on, and their correlation [K] there."""
    from .flow import sample

    place = start.copy()
    around = np.einsum("kij,pj->kpi", warp, grid)
    length = np.linalg.norm(templates, axis=1, keepdims=True) + 1e-6
    for step in range(STEPS + 1):
        patch = sample(image, np.nan_to_num(place[:, None] + around)).astype(float)
        patch -= patch.mean(1, keepdims=True)
        size = np.linalg.norm(patch, axis=1, keepdims=True) + 1e-6
        if step == STEPS:
            break
        error = templates - patch * (length / size)
        shift = (inverse @ (slopes.transpose(0, 2, 1) @ error[..., None]))[..., 0]
        shift *= np.minimum(1, 1 / np.maximum(np.linalg.norm(shift, axis=1, keepdims=True), 1e-9))
        place = place + np.einsum("kij,kj->ki", warp, shift)
    return place, (patch * templates).sum(1) / (size * length)[:, 0]
