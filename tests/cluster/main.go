// The test cluster's control plane in one binary: etcd, kube-apiserver and kubectl, stock, from their public Go packages.
//
// In: argv[0], whose last path element names the program to be (build.sh makes the symlinks), and that program's own arguments.
// Out: exactly what that program does, exit code included.
// Leaves to others: building and caching (build.sh), flags and life cycle (up.sh, down.sh). A whole node is another module's work.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// programs maps each name this binary answers to.
var programs = map[string]func(){
	"etcd":           func() { etcdmain.Main(os.Args) },
	"kube-apiserver": func() { os.Exit(cli.Run(apiserver.NewAPIServerCommand())) },
	"kubectl":        runKubectl,
}

func main() {
	name := filepath.Base(os.Args[0])
	program, known := programs[name]
	if !known {
		names := slices.Sorted(maps.Keys(programs))
		fmt.Fprintf(os.Stderr, "%s: call me by a symlink named %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	program()
}

// runKubectl is upstream's own cmd/kubectl main: verbosity has to be known before the command is built.
func runKubectl() {
	logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
