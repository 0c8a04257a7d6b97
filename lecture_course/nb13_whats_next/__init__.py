"""What only notebook 13 needs: its exercises and their mistakes, and its own figures."""
