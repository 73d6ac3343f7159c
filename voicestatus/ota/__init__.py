"""Updates: signed releases, who gets which, and the bytes on their way to devices."""
