"""Records, labels, filters, beats and the tasks: what an ECG is, without any disk."""
