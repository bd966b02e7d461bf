// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// The major types of CBOR: RFC 8949, section 3.1.
const (
	cborUnsigned = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborOther
)

var cborNames = [...]string{"an unsigned integer", "a negative integer", "a byte string", "a text string", "an array", "a map", "a tag", "a simple value or float"}

// cborReader reads one CBOR item after the other, in the one form that each has:
// shortest heads and definite lengths (RFC 8949, section 4.2.1), but map keys in
// any order.
type cborReader struct{ rest []byte }

// head reads the major type and the argument of an item.
func (r *cborReader) head() (major byte, argument uint64, err error) {
	if len(r.rest) == 0 {
		return 0, 0, errors.New("the CBOR ends too early")
	}
	major, info := r.rest[0]>>5, r.rest[0]&0x1f
	r.rest = r.rest[1:]
	if info < 24 {
		return major, uint64(info), nil
	}
	if info == 31 {
		return 0, 0, errors.New("an item of indefinite length")
	}
	if info > 27 {
		return 0, 0, fmt.Errorf("the reserved additional information %d", info)
	}
	size := 1 << (info - 24)
	if len(r.rest) < size {
		return 0, 0, errors.New("the CBOR ends too early")
	}
	for _, b := range r.rest[:size] {
		argument = argument<<8 | uint64(b)
	}
	r.rest = r.rest[size:]
	if shortest := []uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]; argument < shortest {
		return 0, 0, fmt.Errorf("the number %d in a longer form than its own", argument)
	}
	return major, argument, nil
}

// expect reads the head of an item that must be of a major type.
func (r *cborReader) expect(want byte) (argument uint64, err error) {
	major, argument, err := r.head()
	if err == nil && major != want {
		err = fmt.Errorf("%s, where %s belongs", cborNames[major], cborNames[want])
	}
	return argument, err
}

// content returns that of a string.
func (r *cborReader) content(major byte) ([]byte, error) {
	length, err := r.expect(major)
	if err != nil {
		return nil, err
	}
	if length > uint64(len(r.rest)) {
		return nil, errors.New("the CBOR ends too early")
	}
	content := r.rest[:length]
	r.rest = r.rest[length:]
	return content, nil
}

func (r *cborReader) bytes() ([]byte, error) { return r.content(cborBytes) }

func (r *cborReader) text() (string, error) {
	content, err := r.content(cborText)
	if err == nil && !utf8.Valid(content) {
		err = errors.New("a text string that is not UTF-8")
	}
	return string(content), err
}

// texts reads an array of text strings.
func (r *cborReader) texts() ([]string, error) {
	count, err := r.expect(cborArray)
	if err != nil {
		return nil, err
	}
	var texts []string
	for range count { // each of which takes a byte, or is an error
		text, err := r.text()
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func (r *cborReader) integer() (int64, error) {
	major, argument, err := r.head()
	switch {
	case err != nil:
		return 0, err
	case major > cborNegative:
		return 0, fmt.Errorf("%s, where an integer belongs", cborNames[major])
	case argument > math.MaxInt64:
		return 0, errors.New("an integer of more than 63 bits")
	case major == cborNegative:
		return -1 - int64(argument), nil
	}
	return int64(argument), nil
}

// label reads a key of a header, an int64 or a string.
func (r *cborReader) label() (any, error) {
	if len(r.rest) > 0 && r.rest[0]>>5 == cborText {
		return r.text()
	}
	return r.integer()
}

func (r *cborReader) arrayOf(want uint64) error {
	count, err := r.expect(cborArray)
	if err == nil && count != want {
		err = fmt.Errorf("an array of %d, not of %d", count, want)
	}
	return err
}

func (r *cborReader) mapSize() (uint64, error) { return r.expect(cborMap) }

func (r *cborReader) tag(want uint64) error {
	number, err := r.expect(cborTag)
	if err == nil && number != want {
		err = fmt.Errorf("the tag %d, not %d", number, want)
	}
	return err
}

// end wants nothing to follow.
func (r *cborReader) end() error {
	if len(r.rest) > 0 {
		return fmt.Errorf("%d bytes follow the end of the CBOR", len(r.rest))
	}
	return nil
}
