"""The arrays of BM3D's compiled kernels, and the geometry they share with whoever calls them.

All kernels work on float32 arrays of one channel whose sides are 8 + 3 k. A *reference* block sits at (3 i, 3 j); a
candidate is a number in 0..1520, ``(dy + 19) * 39 + dx + 19``, its displacement inside the 39 x 39 window. A *table*
holds the 64 coefficients of the block at every position, row after row. The kernels release the GIL and are called on
bands of rows by plain threads; results do not depend on how rows are split. Offsets are uint32 where a loop must
vectorise: Numba then knows that no index is negative.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Shorts = npt.NDArray[np.int16]
Offsets = npt.NDArray[np.uint32]
