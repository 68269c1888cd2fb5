"""What `imder tune` found: for each corpus a file that says, preset by preset, what is different."""
