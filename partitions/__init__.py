"""Ways to deal patients to sites. A new one is one class and one line in this table."""

from partitions.schemes import Dirichlet, Patients

PARTITIONERS: dict[str, type[Dirichlet] | type[Patients]] = {
    "dirichlet": Dirichlet,
    "patients": Patients,
}
