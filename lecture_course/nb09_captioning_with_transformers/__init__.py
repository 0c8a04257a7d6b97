"""What only notebook 09 needs: its exercises and their mistakes, and its own figures."""
