"""Runs the signal service."""

from meshkit.serve import serve
from svc_signal.service import build
from svc_signal.settings import SignalSettings

if __name__ == "__main__":
    serve(SignalSettings, build)
