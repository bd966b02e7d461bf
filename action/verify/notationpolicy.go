// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/notaryproject/notation-go/dir"
)

// pathOCITrustPolicy is the specification's name of the trust policy for OCI
// artifacts (trust-store-trust-policy.md, "OCI Trust Policy"), which notation has from
// 2.0 on. Its releases before read and write [dir.PathTrustPolicy] alone.
const pathOCITrustPolicy = "trustpolicy.oci.json"

// readNotationPolicy returns the text of the policy in notation's configuration
// directory, and what to call it in errors. Which file counts depends on the release of
// notation, so two that differ are an error.
func readNotationPolicy(notationDir string) (source string, content []byte, err error) {
	newPath, oldPath := filepath.Join(notationDir, pathOCITrustPolicy), filepath.Join(notationDir, dir.PathTrustPolicy)
	newContent, err := readIfThere(newPath)
	if err != nil {
		return "", nil, err
	}
	oldContent, err := readIfThere(oldPath)
	if err != nil {
		return "", nil, err
	}
	switch {
	case newContent == nil && oldContent == nil:
		return "", nil, fmt.Errorf("nothing to verify against: set trusted_certificates or trust_policy "+
			"(notation has no trust policy here, neither %s nor %s)", newPath, oldPath)
	case newContent == nil:
		return "trust policy " + oldPath, oldContent, nil
	case oldContent != nil && !sameJSON(newContent, oldContent):
		return "", nil, fmt.Errorf("trust policies %s and %s differ, and notation reads the first from 2.0 on, the second before; "+
			"delete one, or set trust_policy to one of them", newPath, oldPath)
	}
	return "trust policy " + newPath, newContent, nil
}

// readIfThere returns the content of a policy file, nil where there is none. A symbolic
// link is refused, as notation does.
func readIfThere(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("trust policy: %w", err)
	}
	return readPolicyFile(path, info)
}

// sameJSON reports whether two texts are the same, but for white space in JSON.
func sameJSON(a, b []byte) bool {
	var compactA, compactB bytes.Buffer
	if json.Compact(&compactA, a) != nil || json.Compact(&compactB, b) != nil {
		return bytes.Equal(a, b)
	}
	return bytes.Equal(compactA.Bytes(), compactB.Bytes())
}
