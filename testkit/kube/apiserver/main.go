// Command apiserver runs the Kubernetes API server and etcd in one process, for tests of manifests: no kubelet, no controllers.
package main

import (
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const etcdTimeout = time.Minute

// main starts etcd in the directory of the first argument, and the API server with the other arguments.
func main() {
	address, err := startEtcd(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
	command := app.NewAPIServerCommand()
	command.SetArgs(append([]string{"--etcd-servers=" + address}, os.Args[2:]...))
	os.Exit(cli.Run(command))
}

// startEtcd returns the address of an etcd on a free port of the loopback interface.
func startEtcd(directory string) (string, error) {
	config := embed.NewConfig()
	config.Dir = directory
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	free := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	config.ListenClientUrls, config.ListenPeerUrls = free, free
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return "", err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return "http://" + etcd.Clients[0].Addr().String(), nil
	case err := <-etcd.Err():
		return "", err
	case <-time.After(etcdTimeout):
		return "", fmt.Errorf("not ready after %s", etcdTimeout)
	}
}
