"""Properties here are about values: on a busy machine one example may take long, so none has a time limit."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
