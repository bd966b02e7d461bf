// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/payload"
)

// AuditedKey is a Key that says what the audit log holds of it. Of others the log
// has no token and no mechanism.
type AuditedKey interface {
	ProbedKey
	// Shown returns all by which a URI can select the key, the serial number of its
	// token among it.
	Shown() pkcs11.URI
}

// auditLogs are those that a Plugin has open, by the path that was set. They stay
// open as long as the process runs, so that a file that is deleted or replaced
// meanwhile is noticed.
type auditLogs struct {
	mu   sync.Mutex
	open map[string]*auditlog.Log
}

// find opens a log, if it isn't.
func (l *auditLogs) find(path string) (*auditlog.Log, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if log := l.open[path]; log != nil {
		return log, nil
	}
	log, err := auditlog.Open(path)
	if err != nil {
		return nil, err
	}
	if l.open == nil {
		l.open = map[string]*auditlog.Log{}
	}
	l.open[path] = log
	return log, nil
}

// CheckAuditLog returns the error that a request with these settings would have,
// since their audit log can't be opened. A log that isn't there is made.
func (p *Plugin) CheckAuditLog(s Settings) error {
	_, err := p.newRecord(s)
	return err
}

// record is what the audit log is going to hold of one request. A nil one is of a
// request without a log.
type record struct {
	log     *auditlog.Log
	entry   auditlog.Entry
	payload *payload.Payload
	said    bool // there is a line, or there was to be one
}

// newRecord begins the record of a request. It opens the log before anything is
// done that would have to be in it.
func (p *Plugin) newRecord(s Settings) (*record, error) {
	if s.AuditLog == "" {
		return nil, nil
	}
	log, err := p.logs.find(s.AuditLog)
	if err != nil {
		return nil, contract.NewValidationErrorf("nothing was signed: %v", err)
	}
	return &record{log: log, entry: auditlog.Entry{Key: s.URI.Selection().String(), Peer: parent()}}, nil
}

// parent is the process that started this one: notation, mostly.
func parent() *auditlog.Peer {
	pid := os.Getppid()
	executable, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // a hint, on Linux
	return &auditlog.Peer{UID: os.Getuid(), PID: pid, Executable: executable}
}

// read reads what is to be signed. With a log, what can't be read isn't signed: it
// could not be logged.
func (r *record) read(message []byte) error {
	if r == nil {
		return nil
	}
	var err error
	if r.payload, err = payload.Parse(message); err != nil {
		return Refuse(validation, "Sign with notation, or unset audit_log",
			"%v; with an audit log, which names the artifact, the plugin signs nothing else", err)
	}
	r.entry.SigningTime = r.payload.SigningTime
	target := r.payload.Target
	r.entry.Artifact = &auditlog.Artifact{Digest: target.Digest, MediaType: target.MediaType, Size: target.Size}
	return nil
}

// fits checks that what is to be signed is for the key.
func (r *record) fits(key Key) error {
	if r == nil {
		return nil
	}
	if err := r.payload.CheckAlgorithm(key.Public()); err != nil {
		return contract.NewValidationError(err.Error())
	}
	return nil
}

// signed writes the line of a signature. If it fails, the signature must not be
// given out.
func (r *record) signed(ctx context.Context, key Key, spec keySpec, certificate *x509.Certificate) error {
	if r == nil {
		return nil
	}
	r.entry.Event = auditlog.Signature
	r.entry.Certificate = auditlog.Thumbprint(certificate)
	if k, ok := key.(AuditedKey); ok {
		r.entry.TokenSerial, _ = k.Shown().Value(pkcs11.AttrSerial)
		// A module that died after the signature can't say it any more.
		if names, err := k.Mechanisms(ctx, spec.options()); err == nil && len(names) > 0 {
			r.entry.Mechanism = names[0]
		}
	}
	r.said = true
	if _, err := r.log.Append(r.entry); err != nil {
		return Refuse(general, "Make room for the log, or put the former file back, then sign again",
			"the signature was made and is not given out: %v", err)
	}
	return nil
}

// refused writes the line of a request that failed, and returns its error.
func (r *record) refused(err error) error {
	return r.failed(auditlog.Refusal, err)
}

// failed is refused for an event. An error that can't be logged says so.
func (r *record) failed(event auditlog.Event, err error) error {
	if r == nil || err == nil || r.said {
		return err
	}
	r.said = true
	told := asContract(err)
	r.entry.Event, r.entry.Reason = event, told.Message
	if _, unlogged := r.log.Append(r.entry); unlogged != nil {
		return contract.NewError(told.ErrCode, strings.TrimSuffix(told.Message, ".")+". The log has no line for this failure: "+unlogged.Error()+".")
	}
	return err
}

// IsLoginFailure reports whether an error of a key is that of a login, or of what it
// takes to log in.
func IsLoginFailure(err error) bool {
	var failed *pkcs11.Error
	if !errors.As(err, &failed) {
		return false
	}
	switch failed.Kind {
	case pkcs11.KindNoPIN, pkcs11.KindPINSource, pkcs11.KindPINLocked, pkcs11.KindReplaced:
		return true
	}
	return failed.Call == "C_Login"
}
