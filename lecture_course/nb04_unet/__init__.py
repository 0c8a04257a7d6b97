"""What only notebook 04 needs: its exercises and their mistakes, and its own figures."""
