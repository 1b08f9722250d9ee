"""What commands about one job take."""

from typing import Annotated

from cyclopts import Parameter

from haulier.cli.output import Output

OutputOption = Annotated[Output, Parameter(name=("--output", "-o"))]
JobId = Annotated[str, Parameter(name="job-id", negative=())]
