"""The Tencent COS Batch dialect."""
