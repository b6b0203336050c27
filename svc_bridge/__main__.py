"""Runs the bridge."""

from meshkit.serve import serve
from svc_bridge.service import build
from svc_bridge.settings import BridgeSettings

if __name__ == "__main__":
    serve(BridgeSettings, build)
