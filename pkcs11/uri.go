// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Names of the URI attributes that this package understands (RFC 7512, section
// 2.3). Those from AttrModulePath on stand behind the question mark.
const (
	AttrToken               = "token"
	AttrManufacturer        = "manufacturer"
	AttrSerial              = "serial"
	AttrModel               = "model"
	AttrLibraryManufacturer = "library-manufacturer"
	AttrLibraryDescription  = "library-description"
	AttrLibraryVersion      = "library-version"
	AttrSlotManufacturer    = "slot-manufacturer"
	AttrSlotDescription     = "slot-description"
	AttrSlotID              = "slot-id"
	AttrObject              = "object"
	AttrID                  = "id"
	AttrType                = "type"
	AttrModulePath          = "module-path"
	AttrModuleName          = "module-name"
	AttrPINSource           = "pin-source"
)

// attrPINValue is known so that it can be refused with its own reason.
const attrPINValue = "pin-value"

// component is one of the two parts of a URI that have attributes (RFC 7512,
// section 2.3). Where each attribute belongs is in the table below.
type component struct {
	name      string // as errors say it
	separator string
	plain     string // what may stand unescaped beside letters and digits
}

// The plain characters are pk11-path-res-avail and pk11-query-res-avail, and
// those that RFC 3986 calls unreserved.
var (
	pathComponent  = &component{"path (before the ?, separated by ;)", ";", "-._~:[]@!$'()*+,=&"}
	queryComponent = &component{"query (after the ?, separated by &)", "&", "-._~:[]@!$'()*+,=/?|"}
)

// attributes is the one table of them, in the order in which String writes them.
var attributes = []struct {
	name  string
	in    *component
	check func(value string) error
	// padded is for texts of a fixed length, which end in blanks, or in zeros
	// where a module pads with those. Tools such as p11tool write the zeros out.
	padded bool
}{
	{name: AttrLibraryManufacturer, in: pathComponent, padded: true},
	{name: AttrLibraryDescription, in: pathComponent, padded: true},
	{name: AttrLibraryVersion, in: pathComponent, check: checkVersion},
	{name: AttrSlotManufacturer, in: pathComponent, padded: true},
	{name: AttrSlotDescription, in: pathComponent, padded: true},
	{name: AttrSlotID, in: pathComponent, check: checkSlotID},
	{name: AttrManufacturer, in: pathComponent, padded: true},
	{name: AttrModel, in: pathComponent, padded: true},
	{name: AttrSerial, in: pathComponent, padded: true},
	{name: AttrToken, in: pathComponent, padded: true},
	{name: AttrObject, in: pathComponent},
	{name: AttrID, in: pathComponent},
	{name: AttrType, in: pathComponent, check: checkType},
	{name: AttrModulePath, in: queryComponent, check: checkNotEmpty},
	{name: AttrModuleName, in: queryComponent, check: checkModuleName},
	{name: AttrPINSource, in: queryComponent, check: checkNotEmpty},
}

// maxURI bounds a URI in bytes: far above what labels and paths can need
// (a token label has 32 bytes), far below what could be a burden.
const maxURI = 16 << 10

// URI is a parsed PKCS#11 URI (RFC 7512). It selects a token and an object on
// it: an attribute that is absent matches anything, one that is present must be
// equal byte for byte, but for the blanks and zeros that texts of a token, slot
// or library are padded with. The zero URI selects everything.
//
// A URI holds no secret: pin-value is refused by ParseURI. It is a value; With
// and Without return changed copies, so it can be shared between goroutines.
type URI struct {
	values map[string]string
}

// ParseURI parses a PKCS#11 URI such as
//
//	pkcs11:token=Release%20keys;object=notation;id=%01%a7?module-path=/usr/lib/softhsm/libsofthsm2.so
//
// It is strict: an attribute that it doesn't know, one given twice, a bad
// escape, or a character that the RFC wants escaped is an error of KindURI that
// names the attribute. Attribute values don't appear in errors, since people
// put PINs into them.
func ParseURI(s string) (URI, error) {
	if len(s) > maxURI {
		return URI{}, uriError("is longer than %d bytes", maxURI)
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found || !strings.EqualFold(scheme, "pkcs11") {
		return URI{}, uriError("doesn't begin with \"pkcs11:\"; write it like pkcs11:token=LABEL;object=LABEL")
	}
	path, query, _ := strings.Cut(rest, "?")
	u := URI{values: map[string]string{}}
	if err := u.parse(path, pathComponent); err != nil {
		return URI{}, err
	}
	if err := u.parse(query, queryComponent); err != nil {
		return URI{}, err
	}
	return u, nil
}

// parse reads the attributes of one component.
func (u URI) parse(text string, c *component) error {
	if text == "" {
		return nil
	}
	for field := range strings.SplitSeq(text, c.separator) {
		name, raw, found := strings.Cut(field, "=")
		if name == attrPINValue {
			return uriError("has a pin-value: notation writes key ids into its key file and logs, so a PIN in them is no secret; " +
				"use pin-source=file:/path, the plugin config pin_source=env:NAME, or NOTATION_PKCS11_PIN")
		}
		if !found {
			return uriError("has an attribute without a value; write NAME=VALUE") // which may be a part of a PIN
		}
		check, err := lookUp(name, c)
		if err != nil {
			return err
		}
		if _, twice := u.values[name]; twice {
			return uriError("has the attribute %q twice", name)
		}
		value, err := unescape(raw, c)
		if err == nil && check != nil {
			err = check(value)
		}
		if err != nil {
			return uriError("has a bad value of the attribute %q: %v", name, err)
		}
		u.values[name] = value
	}
	return nil
}

// lookUp finds an attribute by name in a component.
func lookUp(name string, c *component) (check func(string) error, err error) {
	for _, a := range attributes {
		switch {
		case a.name != name:
		case a.in != c:
			return nil, uriError("has the attribute %q in the wrong part; move it to the %s", name, a.in.name)
		default:
			return a.check, nil
		}
	}
	if meant, known := meantBy[name]; known {
		return nil, uriError("has the unknown attribute %q; use %s", name, meant)
	}
	return nil, uriError("has the unknown attribute %q; use one of %s in the %s", shorten(name), names(c), c.name)
}

// meantBy are names that people write for others, since tools have them.
var meantBy = map[string]string{
	"label": AttrObject, "name": AttrObject, "key": AttrObject, "slot": AttrSlotID,
	"module": AttrModulePath + " after the ?", "pin": AttrPINSource + " after the ?", "pin_source": AttrPINSource + " after the ?",
}

// names lists the attributes of a component, those first that most URIs have.
func names(c *component) string {
	var known []string
	for _, a := range slices.Backward(attributes) {
		if a.in == c && a.name != AttrType {
			known = append(known, a.name)
		}
	}
	if c == pathComponent {
		known = append(known, AttrType)
	}
	return strings.Join(known, ", ")
}

// shorten bounds what an error repeats of its input.
func shorten(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func (c *component) isPlain(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte(c.plain, b) >= 0
}

// unescape decodes %XX. A + stands for itself: this is not a web form.
func unescape(s string, in *component) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return "", fmt.Errorf("the escape at its end is cut off; write two hexadecimal digits after %%")
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf("%% must be followed by two hexadecimal digits")
			}
			b.WriteByte(byte(n))
			i += 2
		case in.isPlain(c):
			b.WriteByte(c)
		case c < utf8.RuneSelf:
			return "", fmt.Errorf("the character %q must be written %s", c, escapeAll(s[i:i+1]))
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				return "", fmt.Errorf("the byte 0x%02X, which is not UTF-8, must be written %s", c, escapeAll(s[i:i+1]))
			}
			return "", fmt.Errorf("the character %q must be written %s", r, escapeAll(s[i:i+n]))
		}
	}
	return b.String(), nil
}

func escape(s string, in *component) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; in.isPlain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func checkSlotID(v string) error {
	if n, err := strconv.ParseUint(v, 10, strconv.IntSize); err != nil || strconv.FormatUint(n, 10) != v {
		return fmt.Errorf("expected a decimal number")
	}
	return nil
}

func checkType(v string) error {
	switch v {
	case "private", "public", "cert", "secret-key", "data":
		return nil
	}
	return fmt.Errorf("expected private, public, cert, secret-key or data")
}

func checkVersion(v string) error {
	major, minor, dotted := strings.Cut(v, ".")
	_, err := strconv.ParseUint(major, 10, 8)
	if err == nil && dotted {
		_, err = strconv.ParseUint(minor, 10, 8)
	}
	if err != nil {
		return fmt.Errorf("expected a version such as 2 or 2.40")
	}
	return nil
}

func checkNotEmpty(v string) error {
	if v == "" {
		return fmt.Errorf("it is empty")
	}
	return nil
}

// checkModuleName keeps a name from being a path: RFC 7512, section 2.4.
func checkModuleName(v string) error {
	if strings.ContainsAny(v, `/\`) {
		return fmt.Errorf("it is a path; use %s", AttrModulePath)
	}
	return checkNotEmpty(v)
}

// Value returns the decoded value of an attribute, and whether it is present.
// The value of AttrID is any bytes.
func (u URI) Value(name string) (value string, present bool) {
	value, present = u.values[name]
	return value, present
}

// With returns a copy of u in which the attribute has the decoded value. The
// name is one of the Attr constants.
func (u URI) With(name, value string) URI {
	values := map[string]string{name: value}
	for k, v := range u.values {
		if k != name {
			values[k] = v
		}
	}
	return URI{values}
}

// Without returns a copy of u without the attributes named.
func (u URI) Without(names ...string) URI {
	values := maps.Clone(u.values)
	for _, name := range names {
		delete(values, name)
	}
	return URI{values}
}

// Selection returns what of u selects: the path, without the query, which says where
// the module and the PIN are. Errors and logs show it.
func (u URI) Selection() URI {
	return u.Without(AttrModulePath, AttrModuleName, AttrPINSource)
}

// String returns the URI in a canonical form that ParseURI reads back: the
// attributes in one order, all bytes escaped that need it, and CKA_ID escaped
// whole, as RFC 7512, section 2.3, recommends.
func (u URI) String() string {
	attributesIn := map[*component][]string{}
	for _, a := range attributes {
		value, present := u.values[a.name]
		if !present {
			continue
		}
		escaped := escape(value, a.in)
		if a.name == AttrID {
			escaped = escapeAll(value)
		}
		attributesIn[a.in] = append(attributesIn[a.in], a.name+"="+escaped)
	}
	s := "pkcs11:" + strings.Join(attributesIn[pathComponent], pathComponent.separator)
	if query := attributesIn[queryComponent]; len(query) > 0 {
		s += "?" + strings.Join(query, queryComponent.separator)
	}
	return s
}

// MarshalText implements encoding.TextMarshaler, and so JSON: it returns what
// String does.
func (u URI) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler by way of ParseURI.
func (u *URI) UnmarshalText(text []byte) (err error) {
	*u, err = ParseURI(string(text))
	return err
}

// matches reports whether each attribute that u has of the given ones is equal,
// but for the padding.
func (u URI) matches(values map[string]string) bool {
	for _, a := range attributes {
		value, given := values[a.name]
		want, present := u.values[a.name]
		if a.padded {
			want = trimPadding(want)
		}
		if given && present && want != value {
			return false
		}
	}
	return true
}

func uriError(format string, args ...any) *Error {
	return newError(KindURI, "the key URI "+format, args...)
}
