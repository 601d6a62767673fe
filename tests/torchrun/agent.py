"""torchrun, whose processes are forks of its own one, which has imported what they need.

python -m tests.torchrun.agent --start-method fork --run-path ... SCRIPT ...
"""

from __future__ import annotations

import torch
from torch.distributed.run import main

from tests.runners.forks import have_ready, without_runtimes

if __name__ == "__main__":
    torch.set_num_threads(1)
    without_runtimes()
    have_ready(["tests.torchrun.plugins"])
    main()
