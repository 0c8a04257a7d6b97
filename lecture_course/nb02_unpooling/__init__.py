"""What only notebook 02 needs: its exercises and their mistakes, and its own figures."""
