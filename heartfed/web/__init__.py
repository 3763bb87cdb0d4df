"""The local web application `heartfed serve`: upload a recording, watch a monitor, follow runs."""
