"""Where facts about nodes come from: their sidecars, probes through them, speed tests."""
