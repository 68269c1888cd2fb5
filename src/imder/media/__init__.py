"""From media straight to predictions: what joins extraction (`imder.extract`) and use of a system (`imder.predict`).

predictor  a trained system that knows how its features were made, loaded once
clips      clips to predictions, some at a time
recording  a long recording, gone through once: features and when they were
transcript what was said, and when
windows    a recording to a time series of predictions
plot       a picture of that
"""
