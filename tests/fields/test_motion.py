"""Motions: identity at the start, exact for rigid motion, gradients, rotations."""

import math

import pytest
import torch
from semaflow.fields.gaussians import optimizer as adam
from semaflow.fields.motion import DeformationNetwork, NodeNetwork, NodeScaffold
from semaflow.fields.motion.network import encode
from semaflow.fields.motion.rotations import (
    align,
    from_matrix,
    from_rotation_vector,
    multiply,
    to_matrix,
)


def rigid(times, spin=2.0):
    """A rotation about z and a translation per time: R [T, 3, 3], t [T, 3]."""
    angle = spin * times
    R = to_matrix(from_rotation_vector(torch.stack([0 * angle, 0 * angle, angle], -1)))
    return R, torch.stack([times, 0.5 * times**2, 0.1 * times], -1)


def cloud(count=60, seed=0):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5


def scaffold(times):
    R, t = rigid(times)
    points = cloud()
    trajectories = torch.einsum("tij,mj->mti", R, points) + t
    return NodeScaffold.from_trajectories(trajectories, times, canonical=0), points


def test_a_fresh_network_changes_nothing():
    network = DeformationNetwork(depth=8, width=32)
    means, quats, scales = cloud(), torch.randn(60, 4), torch.rand(60, 3) + 0.1
    posed = network.pose(means, quats, scales, None, 0.3)
    assert torch.equal(posed[0], means)
    assert torch.allclose(posed[1], torch.nn.functional.normalize(quats, dim=-1))
    assert torch.equal(posed[2], scales)


def test_network_has_the_published_sizes_and_keeps_scales_positive():
    network = DeformationNetwork()
    assert [layer.in_features for layer in network.layers] == [84, 256, 256, 256, 256, 340, 256, 256]
    assert DeformationNetwork(time_frequencies=6, time_network=True).layers[0].in_features == 93
    network.heads.bias.data.fill_(-10.0)
    means = cloud()
    assert network.pose(means, torch.ones(60, 4), torch.ones(60, 3), None, 0.5)[2].min() > 0


def test_the_network_sees_positions_without_gradient():
    network = DeformationNetwork(depth=3, width=16)
    torch.nn.init.normal_(network.heads.weight)
    means = cloud().requires_grad_()
    dx, _, _ = network(means, 0.5)
    dx.sum().backward()
    assert means.grad is None
    assert network.layers[0].weight.grad.abs().max() > 0


def test_encoding_by_hand():
    code = encode(torch.tensor([[0.5]]), 2)[0]
    expected = torch.tensor([0.5, *torch.tensor([0.5, 1.0]).sin(), *torch.tensor([0.5, 1.0]).cos()])
    assert torch.allclose(code, expected)


def test_a_scaffold_on_a_rigid_body_carries_every_point_exactly():
    times = torch.linspace(0, 1, 9)
    motion, _ = scaffold(times)
    R, t = rigid(times)
    points = cloud(40, seed=1)
    anchors = torch.cdist(points, motion.centers).argmin(-1)
    quats = torch.tensor([1.0, 0, 0, 0]).repeat(40, 1)
    for k, time in enumerate(times.tolist()):
        means, turned, _ = motion.pose(points, quats, torch.ones(40, 3), anchors, time)
        assert torch.allclose(means, points @ R[k].T + t[k], atol=2e-5)
        assert torch.allclose(to_matrix(turned), R[k].expand(40, 3, 3), atol=2e-5)
        assert torch.allclose(motion.rest(means, anchors, time), points, atol=5e-5)


def test_between_knots_the_motion_is_smooth():
    times = torch.linspace(0, 1, 9)
    motion, _ = scaffold(times)
    points = cloud(40, seed=1)
    anchors = torch.cdist(points, motion.centers).argmin(-1)
    middle = torch.tensor([0.3])
    R, t = rigid(middle)
    means, _ = motion.carry(points, torch.ones(40, 4), anchors, 0.3)
    assert (means - (points @ R[0].T + t[0])).norm(dim=-1).max() < 0.01


def test_where_knots_are_missing_even_acceleration_stays_even():
    times = torch.tensor([0.0, 1, 2, 3, 5, 6, 7, 9]) / 9
    start, speed, pull = cloud(6)[:, None], torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, -4.0, 2.0])

    def path(t):
        return start + t[:, None] * speed + t.square()[:, None] * pull

    motion = NodeScaffold.from_trajectories(path(times), times, 0)
    for gone in (4 / 9, 1.5 / 9, 5.2 / 9):
        assert torch.allclose(motion.nodes_at(gone)[0], path(torch.tensor([gone]))[:, 0], atol=1e-5)
    usual = (2 * pull / 81).square().sum()  # of frames one apart, the plain second difference
    assert motion.roughness().item() == pytest.approx(usual.item(), rel=1e-3)


def test_after_the_last_knot_each_thing_goes_on_as_the_rigid_body_it_was():
    """Two things, one of them turning: known for half of the time, the rest is as it would be at a fading pace."""
    times = torch.linspace(0, 1, 21)

    def placed(time):
        turned, _ = rigid(time, spin=1.5)
        ball = torch.einsum("tij,mj->mti", turned, cloud(40) - cloud(40).mean(0))
        ball = ball + time[:, None] * torch.tensor([2.0, 0, 1])
        box = cloud(30, seed=1)[:, None] + torch.tensor([0, 9.0, 0]) - time[:, None] * torch.tensor([0, 1.0, 0])
        return torch.cat([ball, box])

    things = torch.tensor([0] * 40 + [1] * 30)
    seen = NodeScaffold.from_trajectories(placed(times[:11]), times[:11], canonical=3, things=things)
    for time in (0.501, 0.6, 1.0, 9.0):
        pace = 0.5 * (1 - math.exp((0.5 - time) / 0.5))  # it fades over the 0.5 that are known
        after = times[:11].clone()
        after[10] += pace
        position, rotation = seen.nodes_at(time)
        there = NodeScaffold.from_trajectories(placed(after), after, canonical=3, things=things)
        assert torch.allclose(position, placed(after)[:, 10], atol=2e-3)
        assert torch.allclose(to_matrix(rotation), to_matrix(there.nodes_at(float(after[10]))[1]), atol=2e-3)
    position.sum().backward()
    assert seen.positions.grad[:, 10].abs().sum() > 0


def test_before_the_first_knot_and_with_few_knots_nodes_are_where_they_are_known():
    times = torch.tensor([0.4, 0.5])
    moving, _ = scaffold(times)
    assert torch.equal(moving.nodes_at(0.1)[0], moving.nodes_at(0.4)[0])
    assert moving.nodes_at(0.9)[0].isfinite().all()
    alone = NodeScaffold.empty(5, 1, 2)
    assert torch.equal(alone.nodes_at(0.9)[0], alone.positions[:, 0])


def test_still_gaussians_stay_and_gradients_reach_only_the_moving():
    motion, _ = scaffold(torch.linspace(0, 1, 5))
    points = cloud(10, seed=2).requires_grad_()
    anchors = torch.tensor([-1, 3] * 5)
    means, _, _ = motion.pose(points, torch.ones(10, 4), torch.ones(10, 3), anchors, 1.0)
    assert torch.equal(means[::2], points[::2])
    assert (means[1::2] - points[1::2]).norm(dim=-1).min() > 0.1
    means[1::2].sum().backward()
    assert points.grad[::2].abs().max() == 0
    assert motion.positions.grad.abs().max() > 0


def test_rigid_motion_has_no_rigidity_loss_and_stretching_has():
    times = torch.linspace(0, 1, 5)
    motion, points = scaffold(times)
    assert motion.rigidity() < 1e-9
    stretched = points[:, None] * (1 + times[:, None])
    assert NodeScaffold.from_trajectories(stretched, times, 0).rigidity() > 1e-3


def test_uniform_motion_has_no_roughness():
    times = torch.linspace(0, 1, 5)
    straight = cloud()[:, None] + times[:, None] * torch.tensor([1.0, 2.0, 0.0])
    assert NodeScaffold.from_trajectories(straight, times, 0).roughness() < 1e-12


def test_bodies_that_meet_do_not_blend():
    times = torch.linspace(0, 1, 9)
    here = cloud(30)[:, None] + torch.zeros(9, 3)
    passing = cloud(30, seed=3)[:, None] + (times[:, None] - 0.5) * torch.tensor([6.0, 0, 0])
    motion = NodeScaffold.from_trajectories(torch.cat([here, passing]), times, canonical=4)
    body = torch.arange(60) >= 30
    assert (body[motion.neighbors] == body[:, None]).float().mean() > 0.98


def test_nodes_of_one_thing_take_no_neighbours_of_another():
    times = torch.linspace(0, 1, 5)
    beside = cloud(40)[:, None] + times[:, None] * torch.tensor([1.0, 0, 0])
    things = torch.tensor([0, 1] * 19 + [2, 3])
    motion = NodeScaffold.from_trajectories(beside, times, canonical=0, things=things)
    assert (things[motion.neighbors] == things[:, None]).all()
    assert (motion.neighbors[-1] == 39).all() and torch.isfinite(motion.radius).all()
    carried, _ = motion.carry(beside[:, 0], torch.tensor([[1.0, 0, 0, 0]]).expand(40, 4), torch.arange(40), 1.0)
    assert torch.allclose(carried, beside[:, -1], atol=1e-5)  # alone, too, it goes where it goes


def test_nodes_take_their_share_of_a_training_step():
    times = torch.linspace(0, 1, 5)
    still = cloud(10)[:, None].repeat(1, 5, 1)
    share = torch.tensor([0.0, 0.1] * 5)
    motion = NodeScaffold.from_trajectories(still, times, canonical=0, mobility=share)
    optimizer = torch.optim.Adam(motion.parameters(), lr=0.01)
    (motion.positions.sum() + motion.rotations.sum()).backward()
    adam.step(optimizer, motion)
    assert torch.allclose(motion.positions - still, -0.01 * share[:, None, None].expand(10, 5, 3), atol=1e-6)
    assert torch.allclose(motion.rotations[0, :, 1:], torch.zeros(5, 3), atol=1e-6)


def test_rotations_agree_with_each_other():
    q = torch.nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    q = torch.where(q[:, :1] < 0, -q, q)
    assert torch.allclose(from_matrix(to_matrix(q)), q, atol=1e-5)
    assert torch.allclose(to_matrix(multiply(q[:25], q[25:])), to_matrix(q[:25]) @ to_matrix(q[25:]), atol=1e-5)
    points = torch.randn(50, 7, 3, generator=torch.Generator().manual_seed(1))
    turned = (to_matrix(q)[:, None] @ points[..., None])[..., 0]
    assert torch.allclose(align(points, turned, torch.ones(50, 7)), to_matrix(q), atol=1e-4)
    tiny = from_rotation_vector(torch.zeros(3, requires_grad=True))
    assert torch.allclose(tiny, torch.tensor([1.0, 0, 0, 0]))


def test_a_fresh_node_network_changes_nothing():
    motion, points = NodeNetwork(nodes=20, depth=2, width=16), cloud()
    quats = torch.nn.functional.normalize(torch.randn(60, 4), dim=-1)
    means, turned, _ = motion.pose(points, quats, torch.ones(60, 3), motion.settle(points), 0.3)
    assert torch.allclose(means, points, atol=1e-6) and torch.allclose(turned, quats, atol=1e-6)


def test_a_node_network_turns_what_it_turns_around_the_nodes():
    motion, points = NodeNetwork(nodes=1, depth=2, width=16), cloud()
    anchors = motion.settle(points)
    motion.network.heads.bias.data[:7] = torch.tensor([1.0, 0, 0, 0, 0, 0, 1.0])  # a step along x, a quarter turn on z
    means, _, _ = motion.pose(points, torch.ones(60, 4), torch.ones(60, 3), anchors, 0.5)
    offset = points - points[0]
    turned = torch.stack([-offset[:, 1], offset[:, 0], offset[:, 2]], -1)
    assert torch.allclose(means, points[0] + turned + torch.tensor([1.0, 0, 0]), atol=1e-5)


def test_nodes_laid_anew_keep_what_their_network_has_learned():
    torch.manual_seed(0)
    motion, points = NodeNetwork(nodes=400, depth=3, width=32, space_frequencies=1), cloud(2000)
    torch.nn.init.normal_(motion.network.heads.weight, std=0.05)
    posed = []
    for order in (torch.arange(2000), torch.arange(2000).flip(0)):  # the first point is the first node
        anchors = torch.empty(2000, dtype=torch.long)
        anchors[order] = motion.settle(points[order])
        posed.append(motion.pose(points, torch.ones(2000, 4), torch.ones(2000, 3), anchors, 0.7)[0])
    assert (posed[0] - posed[1]).norm(dim=-1).mean() < 0.2 * (posed[0] - points).norm(dim=-1).mean()


def test_fewer_points_than_nodes_are_a_node_each():
    motion = NodeNetwork(nodes=20, depth=2, width=16)
    assert motion.settle(cloud(3)).tolist() == [0, 1, 2]
    assert motion.settings()["nodes"] == 3 and motion.nodes_at(0.2)[0].shape == (3, 3)
