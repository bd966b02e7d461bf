// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/action/revocation"
	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// maxListFile is what notation takes of a CRL.
const maxListFile = 32 << 20

// ReadLists reads the CRLs of files, each with one in PEM or DER. It warns of those
// that are due for their next update, which stand for nothing.
func ReadLists(paths []string) (lists revocation.Lists, warnings []string, err error) {
	for _, path := range paths {
		content, err := trustedfile.ReadNamed(path, trustedfile.Public, maxListFile)
		if err != nil {
			return nil, nil, fmt.Errorf("crl_files: %w", err)
		}
		list, err := parseList(content)
		if err != nil {
			return nil, nil, fmt.Errorf("crl_files: %s: %w", path, err)
		}
		if time.Now().After(list.NextUpdate) {
			warnings = append(warnings, fmt.Sprintf("crl_files: %s was due for its next update on %s, and is not used; fetch the CRL again",
				path, list.NextUpdate.UTC().Format(time.RFC3339)))
		}
		lists = append(lists, list)
	}
	return lists, warnings, nil
}

// parseList parses one CRL, and nothing after it.
func parseList(content []byte) (*x509.RevocationList, error) {
	block, rest := pem.Decode(content)
	if block != nil {
		content = block.Bytes
	} else {
		rest = nil
	}
	list, err := x509.ParseRevocationList(content)
	switch {
	case err != nil:
		return nil, err
	case len(list.Raw) != len(content) || len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("there is something after the CRL; name a file with one CRL alone")
	}
	return list, revocation.CheckList(list)
}
