"""Writers of completion reports: outcomes in, report files out."""

from haulier.reports.csv import ReportFile, ReportFiles
from haulier.reports.layout import (
    LAYOUTS,
    ReportedJob,
    ReportKeys,
    Result,
    manifest_json,
    manifest_md5,
    report_folder,
    report_keys,
)

__all__ = [
    "LAYOUTS",
    "ReportFile",
    "ReportFiles",
    "ReportKeys",
    "ReportedJob",
    "Result",
    "manifest_json",
    "manifest_md5",
    "report_folder",
    "report_keys",
]
