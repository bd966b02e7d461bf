// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/miekg/pkcs11"
)

// What a module may write into the room for a label, the type of a key and a modulus.
func TestWhatAModuleLeavesOpenIsAskedForByItself(t *testing.T) {
	types := []uint{pkcs11.CKA_LABEL, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_MODULUS}
	const label, keyType, modulus = pkcs11.CKA_LABEL, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_MODULUS
	const withheld, untouched = pkcs11.CK_UNAVAILABLE_INFORMATION, pkcs11.CK_UNAVAILABLE_INFORMATION - 1
	const missing, secret, short = pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_SENSITIVE, pkcs11.CKR_BUFFER_TOO_SMALL
	for name, test := range map[string]struct {
		rv          uint
		lengths     [3]uint
		known, open []uint
	}{
		"all are there":                              {0, [3]uint{3, 8, 256}, types, nil},
		"an empty value":                             {missing, [3]uint{0, 8, withheld}, []uint{label, keyType}, nil},
		"one is missing":                             {missing, [3]uint{3, 8, withheld}, []uint{label, keyType}, nil},
		"one is withheld without a word":             {0, [3]uint{3, 8, withheld}, []uint{label, keyType}, nil},
		"one is secret":                              {secret, [3]uint{3, 8, withheld}, []uint{label, keyType}, nil},
		"a label is missing, or longer than thought": {missing, [3]uint{withheld, 8, 256}, []uint{keyType, modulus}, []uint{label}},
		"one is longer than thought":                 {short, [3]uint{3, 8, withheld}, []uint{label, keyType}, []uint{modulus}},
		"it stops at the first that is missing":      {missing, [3]uint{3, withheld, untouched}, []uint{label}, []uint{modulus}},
		"it stops before the first":                  {missing, [3]uint{withheld, untouched, untouched}, nil, types},
		"it withholds all where one is missing":      {missing, [3]uint{withheld, withheld, withheld}, nil, types},
		"it says CKR_OK and writes nothing":          {0, [3]uint{untouched, untouched, untouched}, nil, types},
		"it says more than it writes":                {0, [3]uint{3, 8, 700}, []uint{label, keyType}, []uint{modulus}},
		"another failure":                            {pkcs11.CKR_DEVICE_ERROR, [3]uint{3, 8, 256}, nil, types},
	} {
		t.Run(name, func(t *testing.T) {
			rooms, lengths, total := make([]uint, 3), test.lengths[:], uint(0)
			for i, attribute := range types {
				rooms[i] = roomFor(attribute).bytes
				if lengths[i] == untouched {
					lengths[i] = rooms[i]
				}
				total += stride(rooms[i])
			}
			data := bytes.Repeat([]byte{filler}, int(total))
			for i, at := 0, uint(0); i < len(rooms); i++ {
				clear(data[at : at+min(rooms[i], 256)])
				at += stride(rooms[i])
			}
			list, err := answers(test.rv, data, rooms, lengths)
			if (err == nil) != (test.rv == 0) {
				t.Errorf("error %v", err)
			}
			values, open := settle(types, list, test.rv)
			if !slices.Equal(open, test.open) || len(values) != len(test.known) || slices.ContainsFunc(test.known, func(known uint) bool { return values[known] == nil }) {
				t.Errorf("values %v, open %#x", values, open)
			}
		})
	}
}

// FuzzAnswers holds that no value is longer than its room or of another attribute's, and
// that a length that can't be is an error.
func FuzzAnswers(f *testing.F) {
	f.Add(uint(0), []byte{0, 0, 0, 0, 0, 0, 0, 3})
	f.Add(uint(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID), bytes.Repeat([]byte{0xff}, 16))
	f.Fuzz(func(t *testing.T, rv uint, said []byte) {
		rooms, lengths, data := make([]uint, 0, 8), make([]uint, 0, 8), []byte(nil)
		for ; len(said) >= 8 && len(rooms) < 8; said = said[8:] {
			room := uint(9 + len(rooms))
			rooms, lengths = append(rooms, room), append(lengths, uint(binary.BigEndian.Uint64(said)))
			data = append(data, bytes.Repeat([]byte{byte(len(rooms))}, int(stride(room)))...)
		}
		list, err := answers(rv, data, rooms, lengths)
		if errors.As(err, new(LengthError)) {
			if !slices.ContainsFunc(lengths, func(length uint) bool { return length > 9 }) {
				t.Errorf("%v of the lengths %v", err, lengths)
			}
			return
		}
		for i, a := range list {
			if uint(len(a.value)) >= rooms[i] || slices.ContainsFunc(a.value, func(b byte) bool { return b != byte(i+1) }) {
				t.Errorf("attribute %d of the length %d has %v", i, lengths[i], a.value)
			}
		}
	})
}
