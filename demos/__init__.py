"""Programs that show what voicestatus does, on this machine alone."""
