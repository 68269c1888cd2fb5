"""Faces by Google's three models: a detector, a mesh of 478 landmarks, and 52 blendshapes.

extractor    ``--vision face`` and ``face+landmarks``
model_file   the file of the models, fetched once
runtime      the models, run by LiteRT
video        the frames of a video
region       rotated squares in an image, and their crops
detector     faces in an image
mesh         landmarks of a face, its presence, and its region in the next frame
cuts         cuts between shots
tracker      faces from frame to frame
canonical, fit      the canonical face, and the head's pose by fitting it
blendshapes, gaze   from landmarks
features     all features of a face in a frame
"""
