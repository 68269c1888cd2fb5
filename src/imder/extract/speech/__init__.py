"""Speech: transcripts of clips without a text, and hidden states of speech models as features of sound (`imder[speech]`).

words       words with times, and the transcript that they make
whisper     Whisper by CTranslate2 (faster-whisper): transcripts and hidden states from the same weights
whisper_encoder  its encoder, layer by layer
transcribe  the transcript of a clip
states      blocks of long sound, layers, and pooling of states to steps
encoders    the extractors ``whisper`` and ``transformers``
plan        what is transcribed, and the default features of sound
"""
