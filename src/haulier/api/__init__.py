"""The doors: two wire dialects over one service, HTTP, and who may come in."""
