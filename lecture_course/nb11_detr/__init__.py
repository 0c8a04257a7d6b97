"""What only notebook 11 needs: its exercises and their mistakes, and its own figures."""
