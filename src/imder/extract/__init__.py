"""Extraction of a corpus from raw media, optional (`imder[extract]`): only `imder.media` and the commands import it.

manifest    the clips and their files
recipe      how features are extracted; features of two recipes are not interchangeable
extractor   one way to extract features of a modality; extractors: the table of them
media       sound of any file, decoded in chunks
audio, egemaps, language, vision, openface      the extractors
choose      the recipe for a user's options
clip        the features of one clip, its failures and remarks
folder      finished clips on disk
runner      extraction of all clips, parallel and resumable
assemble    a store from finished clips
"""
