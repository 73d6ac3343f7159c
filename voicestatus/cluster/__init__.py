"""Several nodes that share one Redis: who acts, what all hear, who holds what."""
