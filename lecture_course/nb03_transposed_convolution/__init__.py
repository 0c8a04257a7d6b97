"""What only notebook 03 needs: its exercises and their mistakes, and its own figures."""
