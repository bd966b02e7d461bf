// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Where a run has the PIN from.
const (
	fromEnvironment = "NOTATION_PKCS11_PIN"
	fromVariable    = "pin_source=env:"
	fromFile        = "pin_source=file:"
	fromTerminal    = "terminal"
)

// leakRun is one run of the plugin. KEY, CHAINS and DIR in its arguments stand for
// the key's URI, a file with its chain, and a directory.
type leakRun struct {
	name   string
	args   string
	pin    string   // where it is from; fromEnvironment if it isn't said
	wrong  bool     // it is the wrong one
	rules  []string // of the module
	env    []string
	signal syscall.Signal // sent during C_Login, which hangs
	toHost bool           // to the host and not to its parent
	code   int            // exit code; -1: ended by a signal
	pipe   bool           // the PIN goes to the host
}

const (
	signing    = "generate-signature"
	loginHangs = "C_Login hang"
	allTrace   = "GOTRACEBACK=all"
	crash      = "GOTRACEBACK=crash"
)

var leakRuns = []leakRun{
	{name: "metadata", args: "get-plugin-metadata"},
	{name: "description", args: "describe-key"},
	{name: "description of what is hidden before the login", args: "describe-key", rules: []string{"hide-before-login"}, pipe: true},
	{name: "signature", args: signing, pipe: true},
	{name: "PIN from a file", args: signing, pin: fromFile, pipe: true},
	{name: "PIN from another variable", args: signing, pin: fromVariable, pipe: true},
	{name: "PIN from the terminal", args: signing, pin: fromTerminal, pipe: true},
	{name: "PIN for each signature", args: signing, rules: []string{"always-authenticate " + rightPIN}, pipe: true},
	{name: "tokens", args: "tokens"},
	{name: "keys", args: "keys KEY --output json", pipe: true},
	{name: "check", args: "check KEY --cert-chain CHAINS", pipe: true},
	{name: "check, PIN from the terminal", args: "check KEY --cert-chain CHAINS", pin: fromTerminal, pipe: true},
	{name: "new key", args: "generate-key KEY2 --type ec:p256", pipe: true},
	{name: "certificate request", args: "csr KEY --subject CN=a,O=b,ST=c,C=DE", pipe: true},
	{name: "certificate", args: "self-sign KEY --subject CN=a,O=b,ST=c,C=DE --days 3 --output-file DIR/self.pem", pipe: true},
	{name: "import", args: "import-cert KEY CHAINS", pipe: true},
	{name: "agent", args: "agent KEY --audit-log DIR/log -- true", pipe: true},
	{name: "agent, PIN from a file", args: "agent KEY -- true", pin: fromFile, pipe: true},
	{name: "agent, PIN from another variable", args: "agent KEY -- env", pin: fromVariable, pipe: true},
	{name: "agent, PIN from the terminal", args: "agent KEY -- env", pin: fromTerminal, pipe: true},
	{name: "agent and a signature", args: "agent KEY --audit-log DIR/log -- sh SIGN", pipe: true},
	{name: "agent and a host that crashes in the signature", args: "agent KEY --audit-log DIR/log -- sh SIGN", rules: []string{"C_Sign crash"}, env: []string{crash}, code: 1, pipe: true},
	{name: "agent without a key", args: "agent pkcs11:token=testenv;object=absent -- true", code: 1, pipe: true},
	{name: "agent, wrong PIN", args: "agent KEY --audit-log DIR/log -- true", wrong: true, code: 1, pipe: true},
	{name: "agent, crash in the login", args: "agent KEY -- true", rules: []string{"C_Login crash"}, env: []string{crash}, code: 1, pipe: true},
	{name: "version", args: "version"},
	{name: "completion", args: "completion bash"},

	{name: "wrong PIN", args: signing, wrong: true, code: 1, pipe: true},
	{name: "wrong PIN from a file", args: signing, pin: fromFile, wrong: true, code: 1, pipe: true},
	{name: "wrong PIN of a check", args: "check KEY", wrong: true, code: 1, pipe: true},
	{name: "locked token", args: signing, rules: []string{"token-flags +0x40000"}, code: 1},
	{name: "PIN is locked by the login", args: signing, rules: []string{"C_Login rv 0xa4"}, code: 1, pipe: true},
	{name: "PIN in the plugin config", args: signing + " pin=" + rightPIN, code: 1},
	{name: "PIN in the key id", args: signing + " key-id=pkcs11:token=testenv?pin-value=" + rightPIN, code: 1},
	{name: "PIN as its source", args: signing + " pin_source=" + rightPIN, code: 1},

	{name: "noise", args: signing, rules: []string{"C_Login noise", "C_Sign noise"}, pipe: true},
	{name: "crash in the login", args: signing, rules: []string{"C_Login crash"}, env: []string{crash}, code: 1, pipe: true},
	{name: "crash in the signature", args: signing, rules: []string{"C_Sign crash"}, env: []string{crash}, code: 1, pipe: true},
	{name: "abort in the login", args: signing, rules: []string{"C_Login abort"}, env: []string{allTrace}, code: 1, pipe: true},
	{name: "crash of a check", args: "check KEY", rules: []string{"C_Sign crash"}, env: []string{allTrace}, code: 1, pipe: true},
	{name: "deadline", args: signing, rules: []string{loginHangs}, env: []string{"NOTATION_PKCS11_TIMEOUT=2s"}, code: 1, pipe: true},
	{name: "SIGQUIT", args: signing, rules: []string{loginHangs}, env: []string{crash}, signal: unix.SIGQUIT, code: 1, pipe: true},
	{name: "SIGABRT", args: signing, rules: []string{loginHangs}, env: []string{allTrace}, signal: unix.SIGABRT, code: 2, pipe: true},
	{name: "SIGSEGV", args: signing, rules: []string{loginHangs}, env: []string{allTrace}, signal: unix.SIGSEGV, code: 2, pipe: true},
	{name: "SIGTERM", args: "check KEY", rules: []string{loginHangs}, signal: unix.SIGTERM, code: 1, pipe: true},
	{name: "SIGQUIT of the host", args: signing, rules: []string{"C_Login delay 30000"} /* whose hang ignores it */, env: []string{crash}, signal: unix.SIGQUIT, toHost: true, code: 1, pipe: true},
	{name: "SIGABRT of the host", args: signing, rules: []string{loginHangs}, env: []string{crash}, signal: unix.SIGABRT, toHost: true, code: 1, pipe: true},
	{name: "SIGSEGV of the host", args: signing, rules: []string{loginHangs}, env: []string{crash}, signal: unix.SIGSEGV, toHost: true, code: 1, pipe: true},
}
