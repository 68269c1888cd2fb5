"""imder: emotion recognition from language, vision and audio when some of them are missing."""
