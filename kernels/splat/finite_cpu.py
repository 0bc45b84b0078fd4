"""Which rows of a table hold only finite numbers, on the CPU."""

import warp as wp

from ..native import kernel
from ..once import once
from .native import snippet

# A number is finite where its product with zero is zero; the sum of products tells of any that is not.
_FINITE = r"""
const R* row = table.data + (long long)index * columns;
V sums = {};
R sum = R(0);
int c = 0;
for (; c + LANES <= columns; c += LANES) sums += R(0) * Vec::load(row + c);
for (; c < columns; c++) sum += R(0) * row[c];
marks.data[index] = Vec::sum(sums) + sum == R(0);
"""


@once
def finite_kernel(real):
    """Kernel for :func:`bridge.launch` that marks the rows."""
    return kernel(
        "finite",
        f"semaflow_finite_{real.__name__}",
        snippet(real, _FINITE),
        {
            "table": wp.array(dtype=real),
            "columns": int,
            "marks": wp.array(dtype=wp.bool),
            "first_index": int,
        },
        elements=True,
    )
