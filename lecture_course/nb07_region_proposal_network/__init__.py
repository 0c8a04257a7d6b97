"""What only notebook 07 needs: its exercises and their mistakes, and its own figures."""
