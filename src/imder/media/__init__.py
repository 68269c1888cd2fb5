"""Predictions from media: extraction (`imder.extract`) followed by a trained system (`imder.predict`).

predictor   a trained system with the recipe of its features, loaded once
reader      clips and recordings, read by the recipe of a run
clip_inputs a clip from files, arrays and a text
media_recipe the recipe of a run's media: models that have moved, speech to text
clips       predictions of clips, a few in memory at a time
recording   a long recording, decoded once: features and their times
transcript  words and their times
windows     a recording as a time series of predictions
plot        plots of time series
warm_up     a first clip in memory
"""
