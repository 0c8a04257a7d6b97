"""What only notebook 06 needs: its exercises and their mistakes, and its own figures."""
