"""The exporter: tells Prometheus, Kubernetes and people what a client of the proxy gets."""
