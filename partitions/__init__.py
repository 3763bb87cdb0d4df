"""Ways to deal patients to sites. A new one is one class and one line in this table."""

from partitions.schemes import (
    Dirichlet,
    Iid,
    Natural,
    Pathological,
    Patients,
    Quantity,
    Scheme,
)

PARTITIONERS: dict[str, type[Scheme]] = {
    "iid": Iid,
    "dirichlet": Dirichlet,
    "quantity": Quantity,
    "pathological": Pathological,
    "natural": Natural,
    "patients": Patients,
}
