"""`python -m svc_market`."""

from meshkit.serve import serve
from svc_market.build import build
from svc_market.settings import MarketSettings

if __name__ == "__main__":
    serve(MarketSettings, build)
