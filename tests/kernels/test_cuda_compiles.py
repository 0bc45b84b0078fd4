"""The splatting kernels compile for CUDA devices, also where there is none: Warp brings the compiler along."""

import pytest
import warp as wp
from semaflow.kernels.splat import channels_cuda, pixels_cuda, projection, projection_adjoint, tiles_cuda

KERNELS = {
    "projection": lambda real: projection.projection(real, 3, False, True, False),
    "projection adjoint": lambda real: projection_adjoint.projection_adjoint(real, 3, False, True, False),
    "emission": tiles_cuda.emission,
    "weighing": lambda real: tiles_cuda.weighing(real)[0],
    "few channels": lambda real: pixels_cuda.compositing(real, 3)[0],
    "many channels": lambda real: channels_cuda.channel_kernels(real)[0],
}


@pytest.mark.skipif(wp.get_cuda_toolkit_version() is None, reason="this Warp compiles for the CPU only")
@pytest.mark.parametrize("name", KERNELS)
def test_compiles_to_machine_code(name, tmp_path):
    kernel = KERNELS[name](wp.float32)
    paths = wp.compile_aot_module(kernel.module, arch=80, module_dir=tmp_path, use_ptx=False)
    assert all(path.stat().st_size > 0 for path in paths)
