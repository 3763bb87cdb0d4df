"""A monitor: beats, rhythm and alarms of an ECG while it is recorded, from the past alone."""
