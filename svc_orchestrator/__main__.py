"""Runs the orchestrator."""

from meshkit.serve import serve
from svc_orchestrator.service import build
from svc_orchestrator.settings import OrchestratorSettings

if __name__ == "__main__":
    serve(OrchestratorSettings, build)
