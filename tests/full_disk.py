"""A disk that is full, without one: a limit on the size of files, which libraries meet as they meet a full disk."""

import resource
from contextlib import contextmanager


@contextmanager
def files_up_to(size):
    """While the block runs, this process writes no file beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
