"""The page: a small HTTP server beside the gRPC one, with the live page, its JSON, health and metrics."""
