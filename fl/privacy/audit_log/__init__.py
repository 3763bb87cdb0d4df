"""The audit log of a site and of a coordinator: hash-chained lines that are only ever added."""
