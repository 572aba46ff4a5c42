"""What every daemon is assembled from: signals, supervision of its parts, reload, an orderly end."""
