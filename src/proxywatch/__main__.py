"""`python -m proxywatch`."""

from proxywatch.cli import main

main()
