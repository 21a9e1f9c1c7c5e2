"""A Kubernetes API server with etcd, built from their Go modules: it has no kubelet and no controllers."""
