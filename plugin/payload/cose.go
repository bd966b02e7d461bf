// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"fmt"
	"time"
)

// The labels of COSE headers that are numbers: RFC 9052, section 3.1.
const (
	labelAlgorithm   = 1
	labelCritical    = 2
	labelContentType = 3
)

// parseCOSE reads a Sig_structure, RFC 9052, section 4.4.
func parseCOSE(message []byte) (*Payload, error) {
	r := &cborReader{message}
	if err := r.arrayOf(4); err != nil {
		return nil, err
	}
	context, err := r.text()
	if err != nil {
		return nil, fmt.Errorf("context: %w", err)
	}
	if context != "Signature1" {
		return nil, fmt.Errorf("the context is %s, not \"Signature1\"", quote(context))
	}
	protected, err := r.bytes()
	if err != nil {
		return nil, fmt.Errorf("body_protected: %w", err)
	}
	external, err := r.bytes()
	if err != nil {
		return nil, fmt.Errorf("external_aad: %w", err)
	}
	if len(external) > 0 {
		return nil, fmt.Errorf("external_aad has %d bytes, and must be empty", len(external))
	}
	content, err := r.bytes()
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	c, err := parseCOSEHeader(protected)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return c.payload(FormatCOSE, content)
}

// parseCOSEHeader reads a protected header, section "Protected Headers".
func parseCOSEHeader(document []byte) (c claims, err error) {
	r := &cborReader{document}
	count, err := r.mapSize()
	if err != nil {
		return claims{}, err
	}
	seen := map[any]bool{}
	for range count {
		label, err := r.label()
		if err != nil {
			return claims{}, err
		}
		if seen[label] {
			return claims{}, fmt.Errorf("the label %s appears twice", labelName(label))
		}
		seen[label] = true
		if err := c.readCOSE(label, r); err != nil {
			return claims{}, err
		}
	}
	return c, r.end()
}

// readCOSE reads the value of a label.
func (c *claims) readCOSE(label any, r *cborReader) (err error) {
	switch label {
	case int64(labelAlgorithm):
		c.algorithm, err = readAlgorithm(r)
	case int64(labelContentType):
		c.contentType, err = r.text()
	case headerSigningScheme:
		c.scheme, err = r.text()
	case int64(labelCritical):
		c.critical, err = r.texts()
	case headerSigningTime:
		c.signingTime, err = readTime(r)
	case headerExpiry:
		c.expiry, err = readTime(r)
	default:
		return fmt.Errorf("the label %s is not one that is signed", labelName(label))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", labelName(label), err)
	}
	return nil
}

func readAlgorithm(r *cborReader) (string, error) {
	number, err := r.integer()
	if err != nil {
		return "", err
	}
	for name, a := range algorithms {
		if a.cose == number {
			return name, nil
		}
	}
	return "", fmt.Errorf("the algorithm %d is not one that the Notary Project uses", number)
}

// readTime reads seconds since 1970 under the tag 1: RFC 8949, section 3.4.2. The
// last one that RFC 3339 can write is the bound.
func readTime(r *cborReader) (time.Time, error) {
	if err := r.tag(1); err != nil {
		return time.Time{}, err
	}
	seconds, err := r.integer()
	if err != nil {
		return time.Time{}, err
	}
	const last = 253402300799
	if seconds < 0 || seconds > last {
		return time.Time{}, fmt.Errorf("the time %d is before 1970 or after 9999", seconds)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func labelName(label any) string {
	if name, isText := label.(string); isText {
		return quote(name)
	}
	return fmt.Sprint(label)
}
