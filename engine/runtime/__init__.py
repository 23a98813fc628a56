"""Runtime: devices, precision, and the plan by which a render runs."""
