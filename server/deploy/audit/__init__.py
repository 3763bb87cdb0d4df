"""The coordinator's audit log: who was asked what, what came, and who was admitted."""
