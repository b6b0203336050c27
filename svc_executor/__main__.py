"""Runs the executor."""

from meshkit.serve import serve
from svc_executor.service import build
from svc_executor.settings import ExecutorSettings

if __name__ == "__main__":
    serve(ExecutorSettings, build)
