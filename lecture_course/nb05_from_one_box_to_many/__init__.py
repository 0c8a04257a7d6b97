"""What only notebook 05 needs: its exercises and their mistakes, and its own figures."""
