"""Runs the monitor."""

from meshkit.serve import serve
from svc_monitor.build import build
from svc_monitor.settings import MonitorSettings

if __name__ == "__main__":
    serve(MonitorSettings, build)
