"""The data plane: signed requests to S3-compatible stores, driven by curl."""
