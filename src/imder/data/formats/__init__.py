"""The field's file formats, one reader a file."""
