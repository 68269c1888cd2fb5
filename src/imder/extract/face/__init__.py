"""Faces by Google's three models: a detector, a mesh of 478 landmarks, and 52 blendshapes.

runtime     the models of ``face_landmarker.task``, run by LiteRT
region      rotated squares in an image, and their crops
detector    faces in an image
mesh        landmarks of a face, its presence, and its region in the next frame
"""
