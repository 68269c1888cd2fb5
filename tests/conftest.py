"""One thread for each test process: small matrices, several processes. Ctrl-C works also where a shell ignores it."""

import signal

import torch

torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)
