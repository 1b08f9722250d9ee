"""The AWS S3 Batch Operations dialect."""
