"""One port for signs and pages: health, metrics, the resource tree."""
