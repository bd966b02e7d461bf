// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseTarget reads a payload, signature specification, section "Payload". Notation
// takes out what else a descriptor can have, such as URLs and data.
func parseTarget(content []byte) (Descriptor, error) {
	members, err := parseObject(content)
	if err != nil {
		return Descriptor{}, fmt.Errorf("payload: %w", err)
	}
	for _, m := range members {
		if m.name != "targetArtifact" {
			return Descriptor{}, fmt.Errorf("payload: %s is not one that is signed", quote(m.name))
		}
	}
	if len(members) == 0 {
		return Descriptor{}, errors.New(`payload: there is no "targetArtifact"`)
	}
	target, err := parseDescriptor(members[0].value)
	if err != nil {
		return Descriptor{}, fmt.Errorf("targetArtifact: %w", err)
	}
	return target, nil
}

func parseDescriptor(document []byte) (d Descriptor, err error) {
	members, err := parseObject(document)
	if err != nil {
		return Descriptor{}, err
	}
	d.Size = -1
	for _, m := range members {
		switch m.name {
		case "mediaType":
			d.MediaType, err = m.text()
		case "digest":
			d.Digest, err = m.text()
		case "size":
			d.Size, err = m.size()
		case "artifactType":
			d.ArtifactType, err = m.text()
		case "annotations":
			d.Annotations, err = m.annotations()
		default:
			err = fmt.Errorf("%s is not one that is signed", quote(m.name))
		}
		if err != nil {
			return Descriptor{}, err
		}
	}
	return d, d.check()
}

// maxMediaType bounds a media type in bytes: each of its two names has at most 127 (RFC
// 6838, section 4.2). It is shown and logged whole.
const maxMediaType = 255

// check wants the members that must be there.
func (d Descriptor) check() error {
	switch {
	case d.MediaType == "":
		return errors.New(`there is no "mediaType"`)
	case len(d.MediaType) > maxMediaType:
		return fmt.Errorf("the media type %s has %d bytes; the most is %d", quote(d.MediaType), len(d.MediaType), maxMediaType)
	case d.Digest == "":
		return errors.New(`there is no "digest"`)
	case d.Size < 0:
		return errors.New(`there is no "size"`)
	}
	return checkDigest(d.Digest)
}

// digestLengths is in hexadecimal digits. Notation hashes blobs with the key's
// hash, and registries name manifests with one of these.
var digestLengths = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

// checkDigest wants a digest as the OCI image specification writes it, section
// "Digests".
func checkDigest(digest string) error {
	algorithm, encoded, _ := strings.Cut(digest, ":")
	if digestLengths[algorithm] == 0 || len(encoded) != digestLengths[algorithm] || strings.Trim(encoded, "0123456789abcdef") != "" {
		return fmt.Errorf("the digest %s is not one of SHA-256, SHA-384 or SHA-512", quote(digest))
	}
	return nil
}

// size reads a number of bytes in its one form, as integers of a signature that
// many languages verify: RFC 8259, section 6.
func (m member) size() (int64, error) {
	size, err := strconv.ParseInt(string(m.value), 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != string(m.value) {
		return 0, fmt.Errorf("%s is %s, not a number of bytes", quote(m.name), quote(string(m.value)))
	}
	return size, nil
}

func (m member) annotations() (map[string]string, error) {
	members, err := parseObject(m.value)
	if err != nil {
		return nil, fmt.Errorf("annotations: %w", err)
	}
	annotations := make(map[string]string, len(members))
	for _, m := range members {
		if annotations[m.name], err = m.text(); err != nil {
			return nil, fmt.Errorf("annotations: %w", err)
		}
	}
	return annotations, nil
}
