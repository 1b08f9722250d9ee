"""Writers of completion reports: outcomes in, report files out."""
