// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// subjectAttributes are the attributes of a subject, as RFC 4514, section 3,
// names them, with ST's other name S. A subject has each at most once: notation
// takes none twice in its trusted identities.
var subjectAttributes = []struct {
	names []string
	set   func(name *pkix.Name, value string)
}{
	{[]string{"C"}, func(n *pkix.Name, v string) { n.Country = []string{v} }},
	{[]string{"ST", "S"}, func(n *pkix.Name, v string) { n.Province = []string{v} }},
	{[]string{"L"}, func(n *pkix.Name, v string) { n.Locality = []string{v} }},
	{[]string{"STREET"}, func(n *pkix.Name, v string) { n.StreetAddress = []string{v} }},
	{[]string{"POSTALCODE"}, func(n *pkix.Name, v string) { n.PostalCode = []string{v} }},
	{[]string{"O"}, func(n *pkix.Name, v string) { n.Organization = []string{v} }},
	{[]string{"OU"}, func(n *pkix.Name, v string) { n.OrganizationalUnit = []string{v} }},
	{[]string{"SERIALNUMBER"}, func(n *pkix.Name, v string) { n.SerialNumber = v }},
	{[]string{"CN"}, func(n *pkix.Name, v string) { n.CommonName = v }},
}

// ParseSubject parses a distinguished name such as
//
//	CN=Release signing,O=Example,ST=WA,C=US
//
// as RFC 4514 writes them, blanks around commas allowed. The order doesn't
// matter: the name gets the usual one. What can't be mapped is refused: an
// attribute that it doesn't know or that occurs twice, a value in hexadecimal
// (#04…), several attributes joined by a plus sign.
func ParseSubject(s string) (pkix.Name, error) {
	if !utf8.ValidString(s) { // half of a character could be written as an escape
		return pkix.Name{}, fmt.Errorf("the subject %s is not UTF-8", quote(s))
	}
	var name pkix.Name
	seen := map[string]bool{}
	for rest, more := s, true; more; {
		var attribute, value string
		var err error
		if attribute, value, rest, more, err = cutAttribute(rest); err != nil {
			return pkix.Name{}, fmt.Errorf("the subject %s is not a distinguished name: %w", quote(s), err)
		}
		if err := setAttribute(&name, seen, attribute, value); err != nil {
			return pkix.Name{}, fmt.Errorf("the subject %s can't be used: %w", quote(s), err)
		}
	}
	return name, nil
}

func setAttribute(name *pkix.Name, seen map[string]bool, attribute, value string) error {
	var known []string
	for _, a := range subjectAttributes {
		known = append(known, a.names[0])
		if !slices.Contains(a.names, strings.ToUpper(attribute)) {
			continue
		}
		if seen[a.names[0]] {
			return fmt.Errorf("it has %s twice", a.names[0])
		}
		seen[a.names[0]] = true
		a.set(name, value)
		return nil
	}
	return fmt.Errorf("unknown attribute %s; use one of %s", quote(attribute), strings.Join(known, ", "))
}

// cutAttribute cuts the first attribute off a name: RFC 4514, sections 2.4 and
// 3, with blanks allowed around it.
func cutAttribute(s string) (attribute, value, rest string, more bool, err error) {
	attribute, s, found := strings.Cut(s, "=")
	attribute = strings.Trim(attribute, " ")
	if !found || attribute == "" {
		return "", "", "", false, errors.New("expected attributes such as CN=Release signing, separated by commas")
	}
	s = strings.TrimLeft(s, " ")
	if strings.HasPrefix(s, "#") {
		return "", "", "", false, fmt.Errorf("the value of %s is in hexadecimal; write it as text, or a leading # as \\#", quote(attribute))
	}
	var b strings.Builder
	kept := 0 // bytes of b that aren't blanks at its end, or are escaped
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ',':
			rest, more = s[i+1:], true
			i = len(s)
		case '\\':
			decoded, length, ok := unescapePair(s[i+1:])
			if !ok {
				return "", "", "", false, fmt.Errorf("the value of %s has a backslash before what needs none", quote(attribute))
			}
			b.WriteByte(decoded)
			i += length
			kept = b.Len()
		case '+', '"', ';', '<', '>', 0:
			return "", "", "", false, fmt.Errorf("the value of %s has the character %q, which must be written \\%c", quote(attribute), c, c)
		default:
			b.WriteByte(c)
			if c != ' ' {
				kept = b.Len()
			}
		}
	}
	value = b.String()[:kept]
	switch {
	case value == "":
		return "", "", "", false, fmt.Errorf("the value of %s is empty", quote(attribute))
	case b.Len() > kept && strings.HasSuffix(value, `\`): // notation would take the blank for an escaped one
		return "", "", "", false, fmt.Errorf("the value of %s ends in a backslash with spaces after it; remove them", quote(attribute))
	case !utf8.ValidString(value):
		return "", "", "", false, fmt.Errorf("the value of %s is not UTF-8", quote(attribute))
	case strings.ContainsFunc(value, unicode.IsControl): // no reader of the certificate could tell
		return "", "", "", false, fmt.Errorf("the value of %s has a control character", quote(attribute))
	}
	return attribute, value, rest, more, nil
}

// unescapePair decodes what follows a backslash: a special character, or two
// hexadecimal digits.
func unescapePair(s string) (decoded byte, length int, ok bool) {
	if s != "" && strings.IndexByte(`\"+,;<> #=`, s[0]) >= 0 {
		return s[0], 1, true
	}
	if len(s) >= 2 {
		if b, err := hex.DecodeString(s[:2]); err == nil {
			return b[0], 2, true
		}
	}
	return 0, 0, false
}

// CheckIdentity says what a subject lacks to stand in a trust policy: notation's
// trusted identities must name C, ST and O. It is empty where nothing lacks.
func CheckIdentity(name pkix.Name) string {
	var missing []string
	for _, attribute := range []struct {
		name   string
		values []string
	}{{"C", name.Country}, {"ST", name.Province}, {"O", name.Organization}} {
		if len(attribute.values) == 0 {
			missing = append(missing, attribute.name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "its subject lacks " + strings.Join(missing, ", ") + ", so that a trust policy can't name it among its trusted identities, other than with \"*\""
}
