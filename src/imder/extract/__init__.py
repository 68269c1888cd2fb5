"""From raw media to a corpus: an optional part (`imder[extract]`) that only `imder.media` and the commands import.

manifest   which clips there are, and what each of them has
recipe     what is done to them; features of two recipes don't go together
media      sound from any file, a little at a time
audio, egemaps, language, vision, openface      one modality each
clip       everything of one clip, its faults and remarks
place      finished clips on disk
runner     all clips, in parallel, resumable
assemble   finished clips to a store
"""
