"""What only notebook 08 needs: its exercises and their mistakes, and its own figures."""
