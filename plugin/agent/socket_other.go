// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin

package agent

import (
	"context"
	"fmt"
	"net"
	"runtime"
)

// Socket is where an agent listens.
type Socket struct {
	*net.UnixListener
	Path string
}

// Check returns why no agent can run here.
func Check() error {
	return fmt.Errorf("the agent is not available on this system (%s): it needs UNIX sockets that tell whose process is at the other end, as on Linux and macOS", runtime.GOOS)
}

// Listen fails.
func Listen(string) (*Socket, error) { return nil, Check() }

// Inherit fails.
func Inherit() (*Socket, error) { return nil, Check() }

// Close does nothing.
func (s *Socket) Close() error { return nil }

func dial(context.Context, string) (*net.UnixConn, error) { return nil, Check() }
