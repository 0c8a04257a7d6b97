"""What only notebook 00 needs: its exercises and their mistakes, and its own figures."""
