"""Text: prompts to text tokens."""
