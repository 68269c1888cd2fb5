"""The service of a trained system over HTTP and WebSocket, with its page.

app        routes
config     limits and access
engine     predictions of features, and the model's card
batcher    requests that are predicted together
features   requests of features, checked
media      predictions of uploads
upload     forms of uploads, checked
durations  how long an upload's sound and video are
temporary  the private folder of uploads
receive    bodies within bounds of bytes and time
guard      access, request ids, headers of every answer
rows       predictions as they are answered
"""

from imder.serve.app import create_app
from imder.serve.config import ServeConfig

__all__ = ["ServeConfig", "create_app"]
