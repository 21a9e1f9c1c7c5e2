"""The Helm chart: renders it, and generates the files that follow from others (`python -m testkit.chart`)."""
