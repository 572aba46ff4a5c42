"""One file each: Settings, describe(), update(), collect(), examine(), status()."""
