"""Work shared out over processes and machines that have a folder in common: backends of joblib, locks, whole files."""
