"""Who may come in to the admin side: tokens, sessions, and Discord's word."""
