"""`python -m testkit.chart`: writes the generated files of the chart and the manifests."""

from testkit.chart.generated import write
from testkit.processes import ROOT

for path in write():
    print(path.relative_to(ROOT))  # noqa: T201 -- the output of a command
