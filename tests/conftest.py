"""One thread for each test process: small matrices, several processes."""

import torch

torch.set_num_threads(1)
