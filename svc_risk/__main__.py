"""Runs the risk engine."""

from meshkit.serve import serve
from svc_risk.service import build
from svc_risk.settings import RiskSettings

if __name__ == "__main__":
    serve(RiskSettings, build)
