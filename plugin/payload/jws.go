// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// parseJWS reads base64url(header) "." base64url(payload).
func parseJWS(message []byte) (*Payload, error) {
	parts := bytes.Split(message, []byte("."))
	if len(parts) != 2 {
		return nil, fmt.Errorf("it has %d parts, not 2", len(parts))
	}
	header, err := decodeBase64URL(parts[0])
	if err != nil {
		return nil, fmt.Errorf("the header %w", err)
	}
	content, err := decodeBase64URL(parts[1])
	if err != nil {
		return nil, fmt.Errorf("the payload %w", err)
	}
	c, err := parseJWSHeader(header)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return c.payload(FormatJWS, content)
}

// decodeBase64URL takes the one encoding that bytes have (RFC 7515, section 2). The
// decoder passes over line ends, so what it read is encoded again.
func decodeBase64URL(encoded []byte) ([]byte, error) {
	decoded, err := base64.RawURLEncoding.AppendDecode(nil, encoded)
	if err != nil {
		return nil, errors.New("is not base64url")
	}
	if again := base64.RawURLEncoding.AppendEncode(nil, decoded); !bytes.Equal(again, encoded) {
		return nil, errors.New("is base64url in another than its one form")
	}
	return decoded, nil
}

// parseJWSHeader reads a protected header, section "Protected Headers".
func parseJWSHeader(document []byte) (c claims, err error) {
	members, err := parseObject(document)
	if err != nil {
		return claims{}, err
	}
	for _, m := range members {
		switch m.name {
		case "alg":
			c.algorithm, err = m.text()
		case "cty":
			c.contentType, err = m.text()
		case headerSigningScheme:
			c.scheme, err = m.text()
		case "crit":
			c.critical, err = m.texts()
		case headerSigningTime:
			c.signingTime, err = m.time()
		case headerExpiry:
			c.expiry, err = m.time()
		default:
			err = fmt.Errorf("%s is not one that is signed", quote(m.name))
		}
		if err != nil {
			return claims{}, err
		}
	}
	return c, nil
}

// time reads a date-time of RFC 3339 without fractions of a second.
func (m member) time() (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalJSON(m.value); err != nil { // as verifiers do
		return time.Time{}, fmt.Errorf("%s is not a time of RFC 3339", quote(m.name))
	}
	if again, err := json.Marshal(t.Format(time.RFC3339)); err != nil || !bytes.Equal(again, m.value) {
		return time.Time{}, fmt.Errorf("%s is not in whole seconds of RFC 3339", quote(m.name))
	}
	if t.IsZero() { // which for verifiers is none
		return time.Time{}, fmt.Errorf("%s is the first second of the year 1", quote(m.name))
	}
	return t.UTC(), nil
}
