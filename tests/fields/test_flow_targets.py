"""Which frames a flow field learns from."""

import torch
from semaflow.fields.flow.targets import Targets, draw


def frames_drawn(labelled, count=10, draws=400):
    """How often each of ``count`` frames is drawn when those ``labelled`` have labels."""
    found = Targets(
        list(range(count)), torch.zeros(count, 3, 4, 3), torch.zeros(count, 3, 4, dtype=torch.bool),
        torch.zeros(count, 3, 4, dtype=torch.long), labelled=torch.tensor(labelled),
    )
    generator = torch.Generator().manual_seed(0)
    indices = [draw(found, torch.linspace(0, 1, count), 2, 2, generator).index for _ in range(draws)]
    return torch.bincount(torch.tensor(indices), minlength=count)


def test_a_few_labelled_frames_take_half_of_the_draws_and_their_share_of_the_rest():
    drawn = frames_drawn([3])
    assert 180 < int(drawn[3]) < 260  # 220 are expected
    assert int(drawn.min()) > 5


def test_frames_are_drawn_alike_where_all_or_none_have_labels():
    assert torch.equal(frames_drawn(list(range(10))), frames_drawn([]))
    assert int(frames_drawn([]).max()) < 70
