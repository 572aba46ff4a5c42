"""What is written into the chart from the program and from its values: `python -m helm.build`."""
