"""From raw media to a corpus: an optional part (`imder[extract]`) that only `imder.media` and the commands import.

manifest    the clips and their files
recipe      how features are made; features of two recipes don't mix
extractor   one way to turn a modality into features; extractors: the table of them
media       sound from any file, streamed
audio, egemaps, language, vision, openface      the extractors
choose      the recipe for a user's options
clip        the features of one clip, its failures and remarks
folder      finished clips on disk
runner      all clips, in parallel, resumable
assemble    finished clips to a store
"""
