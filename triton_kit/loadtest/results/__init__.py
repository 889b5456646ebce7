"""What a run came to: figures, verdict, objectives, and how they are shown."""
