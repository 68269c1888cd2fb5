"""The systems that IMDer is compared with, one file each."""
