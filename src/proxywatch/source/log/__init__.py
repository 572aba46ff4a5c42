"""Following a log file by lines, however it is rotated."""
