"""Parts of a live stream (`imder.media.stream`).

clock     which pieces count, and when a window is complete
inbox     pushed pieces that wait for the stream's thread, bounded
sound     the latest sound
faces     the faces of the latest frames
features  the latest frames of features that were made elsewhere
words     the latest words
window    the prediction of a window after the windows before it
"""
