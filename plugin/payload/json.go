// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// member is one of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// parseObject reads a JSON object in the order of its members. Decoders differ in
// what they make of names that are there twice, of bytes that are no UTF-8 and of
// half a surrogate pair, and Go's takes a name in other letters as the same, so
// those are errors here, or are left to the caller as names of their own.
func parseObject(document []byte) ([]member, error) {
	switch {
	case !utf8.Valid(document):
		return nil, errors.New("JSON that is not UTF-8")
	case !json.Valid(document):
		return nil, errors.New("it is not one JSON document")
	case hasSurrogates(document):
		return nil, errors.New(`JSON with an escape of a surrogate, such as \ud800`)
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("%s, where a JSON object belongs", jsonType(document))
	}
	var members []member
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return nil, errors.New("it is not one JSON document")
		}
		if seen[name] {
			return nil, fmt.Errorf("%s appears twice", quote(name))
		}
		seen[name] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, errors.New("it is not one JSON document")
		}
		members = append(members, member{name, value})
	}
	return members, nil
}

// hasSurrogates reports whether a valid JSON document escapes surrogates. Notation
// writes what is beyond 16 bits as it is.
func hasSurrogates(document []byte) bool {
	for rest := document; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
		if rest[0] == 'u' && (rest[1] == 'd' || rest[1] == 'D') && strings.IndexByte("89abcdefABCDEF", rest[2]) >= 0 {
			return true
		}
		rest = rest[1:] // which may be a backslash itself
	}
}

// jsonType names what a JSON value is.
func jsonType(value []byte) string {
	switch bytes.TrimLeft(value, " \t\r\n")[0] {
	case '{':
		return "a JSON object"
	case '[':
		return "a JSON array"
	case '"':
		return "a JSON string"
	case 'n':
		return "a JSON null"
	case 't', 'f':
		return "a JSON boolean"
	}
	return "a JSON number"
}

// text reads a string.
func (m member) text() (string, error) {
	if m.value[0] != '"' {
		return "", fmt.Errorf("%s is %s, where a string belongs", quote(m.name), jsonType(m.value))
	}
	var s string
	err := json.Unmarshal(m.value, &s)
	return s, err
}

// texts reads an array of strings.
func (m member) texts() ([]string, error) {
	var values []json.RawMessage
	if m.value[0] != '[' {
		return nil, fmt.Errorf("%s is %s, where an array belongs", quote(m.name), jsonType(m.value))
	}
	if err := json.Unmarshal(m.value, &values); err != nil {
		return nil, err
	}
	var texts []string
	for _, value := range values {
		text, err := member{m.name, value}.text()
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}
