// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func TestSubjectIsParsedInAnyOrder(t *testing.T) {
	want := pkix.Name{Country: []string{"US"}, Province: []string{"WA"}, Organization: []string{"Example, Inc."}, CommonName: "Release signing"}
	for _, s := range []string{
		`CN=Release signing,O=Example\, Inc.,ST=WA,C=US`,
		`C=US, ST=WA, O=Example\, Inc., CN=Release signing`,
		`cn = Release signing , o=Example\2C Inc.,S=WA,c=US`,
	} {
		name, err := ParseSubject(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if name.String() != want.String() {
			t.Errorf("%s: %v", s, name)
		}
	}
}

func TestSubjectWithEveryAttribute(t *testing.T) {
	s := `CN=a,SERIALNUMBER=b,C=US,POSTALCODE=c,STREET=d,L=e,ST=f,OU=g,O=h`
	name, err := ParseSubject(s)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(name.String(), ",")
	want := strings.Split(s, ",")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", name)
	}
}

func TestSubjectThatCanNotBeMappedIsRefused(t *testing.T) {
	for s, wants := range map[string]string{
		"":                       "expected attributes",
		"Release signing":        "expected attributes",
		"CN=a,":                  "expected attributes",
		"CN=a,,O=b":              "unknown attribute",
		"=a":                     "expected attributes",
		"CN=":                    "is empty",
		"CN= ,O=b":               "is empty",
		"CN=a,CN=b":              "CN twice",
		"ST=a,S=b":               "ST twice",
		"UID=a":                  `unknown attribute "UID"; use one of C, ST`,
		"2.5.4.3=a":              "unknown attribute",
		"emailAddress=a@example": "unknown attribute",
		"CN=a+OU=b":              `must be written \+`,
		"CN=#0403":               "hexadecimal",
		`CN="a"`:                 `must be written \"`,
		"CN=a;O=b":               `must be written \;`,
		`CN=a\`:                  "backslash",
		`CN=a\x`:                 "backslash",
		"CN=a\x00b":              "must be written",
		`CN=\FF`:                 "not UTF-8",
		"CN=\\E1\\80\x86":        "not UTF-8",
		`CN=good\00.example`:     "control character",
		`CN=a\\ ,O=b`:            "spaces after it",
		"CN=a\tb":                "control character",
	} {
		if name, err := ParseSubject(s); err == nil || !strings.Contains(err.Error(), wants) {
			t.Errorf("%q: %v, error %v", s, name, err)
		}
	}
}

// What go-ldap reads, which notation reads trusted identities with, is what
// this parser reads, or refuses. And what it read, it writes so that it reads it
// again.
func FuzzSubjectIsReadAsNotationReadsIt(f *testing.F) {
	for _, seed := range []string{`CN=a b\, c ,O=\23d\20 ,C=US`, `CN=\E2\82\AC`, `O = x\+y, CN=\ z`, "CN=€"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseSubject(s)
		if err != nil {
			return
		}
		if again, err := ParseSubject(name.String()); err != nil || again.String() != name.String() {
			t.Errorf("%q was read as %q, and that as %q, %v", s, name, again, err)
		}
		reference, err := ldap.ParseDN(s)
		if err != nil {
			return // it is stricter here
		}
		for _, rdn := range reference.RDNs {
			for _, a := range rdn.Attributes {
				value := map[string][]string{
					"C": name.Country, "ST": name.Province, "S": name.Province, "L": name.Locality, "STREET": name.StreetAddress,
					"POSTALCODE": name.PostalCode, "O": name.Organization, "OU": name.OrganizationalUnit,
					"SERIALNUMBER": {name.SerialNumber}, "CN": {name.CommonName},
				}[strings.ToUpper(a.Type)]
				if !slices.Equal(value, []string{a.Value}) {
					t.Errorf("%q: %s is %q, go-ldap reads %q", s, a.Type, value, a.Value)
				}
			}
		}
	})
}

func TestSubjectsThatPoliciesCanNotNameAreNoticed(t *testing.T) {
	for s, want := range map[string]string{"CN=a,O=b,ST=c,C=US": "", "CN=a": "lacks C, ST, O", "CN=a,O=b,C=US": "lacks ST"} {
		name, err := ParseSubject(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := CheckIdentity(name); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q", s, got)
		}
	}
}
