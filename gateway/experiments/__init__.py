"""Arms, and which conversation is dealt to which."""
