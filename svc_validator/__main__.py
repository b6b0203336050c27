"""Starts the validator."""

from meshkit.serve import serve
from svc_validator.build import build
from svc_validator.settings import ValidatorSettings

if __name__ == "__main__":
    serve(ValidatorSettings, build)
