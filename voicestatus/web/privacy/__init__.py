"""What is kept of people, shown to them, and erased when they say so."""
