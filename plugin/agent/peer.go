// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
)

// Peer is the process at the other end of a connection.
type Peer struct {
	// UID is its user's number, which the system vouches for.
	UID int
	// PID and Executable are hints: the process may have handed the connection on,
	// and through ssh it is ssh. Zero and empty: not known. The executable is that of
	// the process, or, where that doesn't show it as the plugin doesn't, of its parent.
	PID        int
	Executable string
}

func (p Peer) logged() *auditlog.Peer {
	return &auditlog.Peer{UID: p.UID, PID: p.PID, Executable: p.Executable}
}

func ownUID() int { return os.Geteuid() }
