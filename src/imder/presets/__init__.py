"""The presets: one YAML file each, over the dataclasses that they configure."""
