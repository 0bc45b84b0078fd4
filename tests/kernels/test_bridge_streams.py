"""What runs on a CUDA device follows torch's current stream, whichever thread's that is."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from semaflow.kernels import bridge, splat
from semaflow.kernels.composite import exclusive_sum
from semaflow.kernels.neighbors import nearest

from tests.reference.gaussians import DEVICES, random_gaussians


class Kernel:
    module = "module"


def test_launches_name_the_current_stream_of_the_tensors_device(monkeypatch):
    """As far as a machine without a device can tell."""
    launched, loaded = [], []
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ("stream of", device))
    monkeypatch.setattr(bridge.wp, "stream_from_torch", lambda stream: ("Warp's", stream))
    monkeypatch.setattr(bridge.wp, "launch", lambda *arguments, **options: launched.append(options["stream"]))
    monkeypatch.setattr(bridge.wp, "load_module", lambda module, device: loaded.append((module, device)))
    like = SimpleNamespace(is_cuda=True, device=torch.device("cuda:1"))
    for _ in range(2):
        bridge.launch(Kernel, 5, [], like)
    assert launched == [("Warp's", ("stream of", like.device))] * 2
    assert loaded == [("module", "cuda:1")]


@pytest.mark.parametrize("device", DEVICES[1:])
def test_late_inputs_of_streams_of_many_threads_are_waited_for(device):
    """Each thread has a stream of its own, on which its inputs are written late."""
    scene = random_gaussians(3).to(torch.float32)
    given = [x.to(device) for x in (*scene.geometry, scene.colors, scene.viewmats, scene.Ks)]

    def results(means, *others):
        image = splat.rasterization(means, *others, scene.width, scene.height)[0]
        return image, nearest(means, 3)[0], exclusive_sum(means)

    def late(_):
        with torch.cuda.stream(torch.cuda.Stream()):
            means = torch.zeros_like(given[0])
            torch.cuda._sleep(200_000_000)
            means.copy_(given[0])
            found = results(means, *given[1:])
            torch.cuda.current_stream().synchronize()
        return found

    expected = results(*given)
    torch.cuda.synchronize()
    with ThreadPoolExecutor(4) as crew:
        for found in crew.map(late, range(8)):
            for value, truth in zip(found, expected, strict=True):
                torch.testing.assert_close(value, truth, rtol=1e-4, atol=1e-5)
