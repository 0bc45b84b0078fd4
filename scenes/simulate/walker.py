"""The world ``walker``: an articulated figure that walks, in named parts."""

from __future__ import annotations

import math

import numpy as np

from . import meshes, motions
from .bodies import body
from .meshes import Shape
from .motions import Pose, rotation
from .room import RIGHT, place, room
from .worlds import World

# The figure stands at rest facing x, left is y, its soles on z = 0. Lengths in scene units
# (metres).
ANKLE, KNEE, HIP, SHOULDER, ELBOW = 0.09, 0.48, 0.88, 1.34, 1.04
WIDTH = {"hip": 0.11, "shoulder": 0.26}  # from the middle to either side
SOLE = 0.05  # half the height of a foot
CYCLES = 1.25  # double steps per video
HIP_SWING, KNEE_BEND, ARM_SWING, ELBOW_BEND = (math.radians(angle) for angle in (22, 26, 20, 22))

SKIN, SHIRT, SLEEVES = (0.86, 0.62, 0.48), (0.72, 0.2, 0.22), (0.88, 0.66, 0.2)
TROUSERS, SHOES = (0.2, 0.34, 0.62), (0.3, 0.5, 0.26)
PARTS = {
    "head": SKIN,
    "torso": SHIRT,
    "left arm": SLEEVES,
    "right arm": SLEEVES,
    "left hand": SKIN,
    "right hand": SKIN,
    "left leg": TROUSERS,
    "right leg": TROUSERS,
    "left foot": SHOES,
    "right foot": SHOES,
}
LINKS = ("torso", "head") + tuple(
    f"{side} {bone}"
    for side in ("left", "right")
    for bone in ("upper arm", "forearm", "thigh", "shin", "foot")
)


def walker(seed: int = 0) -> World:
    """A figure walking a metre to the right, arms and legs swinging."""
    figure = body(
        "walker",
        _figure(),
        list(PARTS.values()),
        seed,
        motions.Articulated(_walk),
        parts=tuple(PARTS),
        cell=0.018,
        contrast=0.85,
    )
    return World("walker", (*room(seed), figure), center=(0.0, 0.0, 0.9), distance=3.6, seed=seed)


def _figure() -> Shape:
    """The figure at rest."""
    part, link = list(PARTS).index, LINKS.index
    shapes = [
        meshes.ellipsoid([0.15, 0.14, 0.17], part("head"), link("head")).moved([0.01, 0, 1.6]),
        meshes.capsule([0, 0, 1.3], [0, 0, 1.5], 0.06, part("head"), link("head")),
        meshes.ellipsoid([0.16, 0.23, 0.36], part("torso"), link("torso")).moved([0, 0, 1.12]),
    ]
    for side, sign in (("left", 1), ("right", -1)):
        arm, leg = sign * WIDTH["shoulder"], sign * WIDTH["hip"]
        bones = [
            (f"{side} arm", "upper arm", [0, arm, SHOULDER], [0, arm, ELBOW], 0.075),
            (f"{side} arm", "forearm", [0, arm, ELBOW], [0, arm, 0.82], 0.065),
            (f"{side} leg", "thigh", [0, leg, HIP], [0, leg, KNEE], 0.105),
            (f"{side} leg", "shin", [0, leg, KNEE], [0, leg, ANKLE + 0.02], 0.08),
        ]
        shapes += [
            meshes.capsule(start, end, radius, part(name), link(f"{side} {bone}"))
            for name, bone, start, end, radius in bones
        ]
        hand = meshes.ellipsoid([0.09, 0.07, 0.1], part(f"{side} hand"), link(f"{side} forearm"))
        foot = meshes.ellipsoid([0.17, 0.085, SOLE], part(f"{side} foot"), link(f"{side} foot"))
        shapes += [hand.moved([0, arm, 0.72]), foot.moved([0.06, leg, SOLE])]
    return meshes.joined(shapes)


def _walk(time: float) -> list[Pose]:
    """Poses of all links at normalised time: joint angles are sines of the walking phase."""
    phase = 2 * math.pi * CYCLES * time
    poses: dict[str, Pose] = {}
    reach = []
    swings = {"left": phase, "right": phase + math.pi}
    legs = {}
    for side, swing in swings.items():
        # Turning about y by a positive angle takes what hangs down backward.
        hip, knee = -HIP_SWING * math.sin(swing), KNEE_BEND * (0.55 - 0.45 * math.cos(swing + 0.6))
        legs[side] = (hip, knee)
        reach.append((HIP - KNEE) * math.cos(hip) + (KNEE - ANKLE) * math.cos(hip + knee) + ANKLE)
    # The hip is as high as the straighter leg allows; a soft maximum keeps that smooth.
    high = 0.01 * math.log(sum(math.exp((length - HIP) / 0.01) for length in reach) / 2) + HIP

    yaw = math.atan2(RIGHT[1], RIGHT[0])
    where = place(-0.5 + motions.eased(time), 0.1, high - HIP)
    poses["torso"] = (rotation([0, 0, 1], yaw + 0.06 * math.sin(phase)), where)
    poses["head"] = _bent(poses["torso"], [0, 0, 1.4], [0, 0, 1], 0.25 * math.sin(0.8 * phase))
    for side, swing in swings.items():
        sign = 1 if side == "left" else -1
        arm, leg = sign * WIDTH["shoulder"], sign * WIDTH["hip"]
        hip, knee = legs[side]
        shoulder, elbow = ARM_SWING * math.sin(swing), -ELBOW_BEND * (1.0 - 0.5 * math.sin(swing))
        upper = _bent(poses["torso"], [0, arm, SHOULDER], [0, 1, 0], shoulder)
        upper = (upper[0] @ rotation([1, 0, 0], sign * 0.12), upper[1])
        poses[f"{side} upper arm"] = upper
        poses[f"{side} forearm"] = _bent(upper, [0, arm, ELBOW], [0, 1, 0], elbow)
        thigh = _bent(poses["torso"], [0, leg, HIP], [0, 1, 0], hip)
        shin = _bent(thigh, [0, leg, KNEE], [0, 1, 0], knee)
        poses[f"{side} thigh"], poses[f"{side} shin"] = thigh, shin
        poses[f"{side} foot"] = _bent(shin, [0, leg, ANKLE], [0, 1, 0], -0.7 * (hip + knee))
    return [poses[link] for link in LINKS]


def _bent(parent: Pose, joint, axis, angle: float) -> Pose:
    """The pose of a link turned by ``angle`` about ``axis`` through ``joint`` (parent at rest)."""
    turn, joint = rotation(axis, angle), np.asarray(joint, dtype=np.float64)
    return parent[0] @ turn, parent[0] @ (joint - turn @ joint) + parent[1]
