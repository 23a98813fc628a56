"""What each kind of stage learns: samples -> a batch with everything drawn -> losses."""
