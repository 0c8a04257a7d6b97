"""What only notebook 12 needs: its exercises and their mistakes, and its own figures."""
