// SPDX-License-Identifier: Apache-2.0

// Package testenv makes a throw-away world to sign in: tokens, certificates,
// registries and the notation command. The tests of several packages and the
// lab share it.
//
// Its parts are real ones, not mocks, and stand alone:
//
//   - [SoftHSM] is a store of PKCS#11 tokens. [SoftHSM.AddStandardToken] gives
//     a token with one key of each type that notation can sign with.
//   - [TPM] is such a store in a TPM 2.0, and [P11Kit] a token behind a socket;
//     [TokenKinds] has one token of each kind.
//   - [PKI] issues certificates for those keys; [Broken] and [Harmless] are
//     chains that a signer must refuse, or must not.
//   - [Registry] is an OCI registry on loopback; [RegistryKinds] has one of
//     each kind. It keeps a journal of the requests it got.
//   - [Notation] is the notation command with a configuration of its own.
//
// A part is made by a function that returns an error, and is gone after its
// Close; tests use [Start], which does both. Each part has its own temporary
// directory and a port that the system chose, and nothing changes the process's
// environment, so tests of many packages can run at once.
//
// It is not for use outside tests and the lab: PINs are constants, CA keys lie
// in memory, registries let everybody in.
package testenv

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// Start makes a part for one test: the test fails when the part can't be made,
// and the part is closed when the test ends.
//
//	hsm := testenv.Start(t, testenv.NewSoftHSM)
func Start[Part io.Closer](tb testing.TB, make func() (Part, error)) Part {
	tb.Helper()
	part, err := make()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := part.Close(); err != nil {
			tb.Error(err)
		}
	})
	return part
}

// PutFile writes a file that its owner alone can read, with the directories that it
// is in. It returns the path.
func PutFile(tb testing.TB, path, content string) string {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
