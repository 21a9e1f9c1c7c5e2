"""The experiments, a file each; `faults.catalogue` lists them."""
