"""What a user gives of a person (a photo, perhaps vertices) -> what the networks take."""
