"""What only notebook 10 needs: its exercises and their mistakes, and its own figures."""
