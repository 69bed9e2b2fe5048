"""Hypothesis draws the same examples in every run: a failure repeats, a shared machine's clock decides nothing."""

import torch
from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=20, print_blob=True)
settings.load_profile("repeatable")

torch.set_num_threads(1)  # small tensors on a busy machine: spinning threads cost more than they bring
