// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Crowd puts n objects of others on a SoftHSM token, as a shared partition has them: both
// halves of a key named "other" and a certificate for it, again and again.
func (t *Token) Crowd(n int, certify func(*Key) (*x509.Certificate, error)) error {
	before, err := t.objectFiles()
	if err != nil {
		return err
	}
	key, err := t.Generate(EC256, "other")
	if err != nil {
		return err
	}
	t.Keys = t.Keys[:len(t.Keys)-1] // there are many like it
	certificate, err := certify(key)
	if err != nil {
		return fmt.Errorf("certify a key of others: %w", err)
	}
	if err := t.ImportCertificate(certificate, key.Label, key.ID); err != nil {
		return err
	}
	after, err := t.objectFiles()
	if err != nil {
		return err
	}
	originals := slices.DeleteFunc(after, func(path string) bool { return slices.Contains(before, path) })
	for i := range n - len(originals) {
		original := originals[i%len(originals)]
		content, err := os.ReadFile(original)
		if err != nil {
			return fmt.Errorf("copy object: %w", err)
		}
		// SoftHSM has a file for each object, of any name.
		if err := os.WriteFile(filepath.Join(filepath.Dir(original), fmt.Sprintf("copy-%06d.object", i)), content, 0o600); err != nil {
			return fmt.Errorf("copy object: %w", err)
		}
	}
	return nil
}

// objectFiles are the files of the objects on all tokens of a SoftHSM store.
func (t *Token) objectFiles() ([]string, error) {
	return filepath.Glob(filepath.Join(t.Store.dir, tokensDir, "*", "*.object"))
}
