// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// endings are the signals that end a process with these arguments. SIGHUP has an
// agent let go of its tokens.
func endings(args []string) []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	if !isAgentServer(args) && (len(args) < 2 || args[1] != agentName || becomesCommand(args)) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// restoreSignals gives the signals back that this process has taken, for what it
// becomes.
func restoreSignals() { signal.Reset(endings(os.Args)...) }
