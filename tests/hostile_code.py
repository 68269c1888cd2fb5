"""Code that a folder of a transformer brings along, and that leaves a file where it runs."""

_CODE = """
from pathlib import Path

Path({marker!r}).write_text("executed")
from transformers import BertConfig, BertModel, BertTokenizerFast


class HostileConfig(BertConfig):
    model_type = "hostile"


class HostileModel(BertModel):
    config_class = HostileConfig


class HostileTokenizer(BertTokenizerFast):
    pass
"""


def write_code(folder, marker):
    """Write ``code.py``, with classes of a type ``hostile``; ``marker`` is the file that it would leave."""
    (folder / "code.py").write_text(_CODE.format(marker=str(marker)))
