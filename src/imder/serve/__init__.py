"""The service of a trained system over HTTP and WebSocket, with its page.

app        routes
service    what the routes share
config     limits and access
engine     predictions of features, and the model's card
batcher    requests that are predicted together
features   requests of features as JSON, checked
tensors    requests of features in binary, checked
media      predictions of uploads
upload     forms of uploads, checked
durations  how long an upload's sound and video are
temporary  the private folder of uploads
receive    bodies within bounds of bytes and time
live       live streams over WebSocket
messages   their messages, checked
guard      access, request ids, headers of every answer
metrics    counters for Prometheus
schemas    documents of requests and answers, for openapi.json
server     the process: signals, slow connections
page/, reference/   plain files at / and /docs
"""

from imder.serve.app import create_app
from imder.serve.config import ServeConfig

__all__ = ["ServeConfig", "create_app"]
