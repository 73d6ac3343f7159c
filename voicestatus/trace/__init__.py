"""What the Gateway said, without who said it: recorded, and played again."""
