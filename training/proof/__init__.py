"""What a trained model of avatars can do, measured on people whom it has never met."""
