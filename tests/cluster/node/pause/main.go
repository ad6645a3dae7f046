// The first process of every pod on the test node, and the process that holds the node's mount namespace: it waits.
//
// In: SIGINT or SIGTERM, which end it; SIGCHLD, since in a pod that shares its process namespace it inherits orphans.
// Out: nothing.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
