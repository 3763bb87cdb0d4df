"""What crosses between server and sites, as typed records and as Flower messages."""
