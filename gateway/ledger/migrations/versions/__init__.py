"""One file for each revision; what is here never changes once released."""
