"""A text encoder that is tuned together with a system."""
