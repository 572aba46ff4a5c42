"""Where nodes come from beside the settings: files, DNS, Kubernetes, Docker, Mullvad's relay list."""
