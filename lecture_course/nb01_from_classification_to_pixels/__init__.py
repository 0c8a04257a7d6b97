"""What only notebook 01 needs: its exercises and their mistakes, and its own figures."""
