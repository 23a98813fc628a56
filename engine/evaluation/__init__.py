"""What a render is measured by: the words a prompt may use, and how well a video keeps to them."""
