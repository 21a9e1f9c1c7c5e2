"""Checks with a real Kubernetes API server (`make kube`), whose build takes ten minutes."""
