"""What is fast, against whom, and how to see it: `python -m benchmarks`."""
