// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// The parsers of inputTable, its column set: each returns the parser of one kind of
// value, for the field that field selects.

func text(field func(*inputs) *string) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		*field(in) = value
		return nil
	}
}

func checked(field func(*inputs) *string, check func(string) error) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		*field(in) = value
		return check(value)
	}
}

func lines(field func(*inputs) *[]string) func(*inputs, string) error {
	return eachLine(func(in *inputs, line string) error {
		*field(in) = append(*field(in), line)
		return nil
	})
}

// references are of artifacts: with a registry and a repository, or in a layout.
func references(field func(*inputs) *[]string) func(*inputs, string) error {
	return eachLineOrFile(func(in *inputs, line string) error {
		if _, isLayout := registry.LayoutPath(line); isLayout {
			if _, err := parseDestination(line); err != nil {
				return err
			}
		} else if _, err := parseReference(line); err != nil {
			return err
		}
		*field(in) = append(*field(in), line)
		return nil
	})
}

var (
	scheme   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	userInfo = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)?[^/@]*:[^/@]*@[^/@]*/|^[A-Za-z][A-Za-z0-9+.-]*://[^/@]*@`)
)

func parseReference(line string) (orasregistry.Reference, error) {
	switch {
	case userInfo.MatchString(line):
		return orasregistry.Reference{}, errors.New("a reference begins with a user and a password; remove them, and set registry_username and registry_password") // and is not shown
	case scheme.MatchString(line):
		return orasregistry.Reference{}, fmt.Errorf("%s begins with a scheme; write it like ghcr.io/me/app@sha256:…", report.Quote(line))
	}
	ref, err := orasregistry.ParseReference(line)
	if err != nil {
		return ref, fmt.Errorf("%s is not a reference such as ghcr.io/me/app@sha256:…: %s", report.Quote(line), report.Bounded(err.Error(), 500)) // it repeats the line
	}
	if !hostPattern.MatchString(ref.Registry) {
		return ref, fmt.Errorf("%s doesn't begin with a registry such as ghcr.io or registry.internal:5000", report.Quote(line))
	}
	return ref, nil
}

// repository is one without tag and digest.
func repository(field func(*inputs) *orasregistry.Reference) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		ref, err := parseReference(value)
		if err == nil && ref.Reference != "" {
			err = fmt.Errorf("%s has a tag or a digest, and a scope is a repository such as ghcr.io/me/app", report.Quote(value))
		}
		*field(in) = ref
		return err
	}
}

// hostPattern is a host, or an address in brackets, and perhaps a port. What else a
// URL can have there is no name of a registry, and some of it can't be told from
// one by its looks.
var hostPattern = regexp.MustCompile(`^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

func hosts(field func(*inputs) *[]string) func(*inputs, string) error {
	return eachLine(func(in *inputs, line string) error {
		if !hostPattern.MatchString(line) {
			return fmt.Errorf("%s is not a host such as registry.internal:5000", report.Quote(line))
		}
		*field(in) = append(*field(in), line)
		return nil
	})
}

// choice takes one of some words.
func choice[T ~string](field func(*inputs) *T, words ...T) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		for _, word := range words {
			if value == string(word) {
				*field(in) = word
				return nil
			}
		}
		return fmt.Errorf("unknown value %s; use one of %s", report.Quote(value), join(words))
	}
}

// named replaces a word by its meaning.
func named(field func(*inputs) *string, meanings map[string]string) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		meaning, known := meanings[value]
		if !known {
			return fmt.Errorf("unknown value %s; use one of %s", report.Quote(value), join(slices.Sorted(maps.Keys(meanings))))
		}
		*field(in) = meaning
		return nil
	}
}

func boolean(field func(*inputs) *bool) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		switch strings.ToLower(value) {
		case "true":
			*field(in) = true
		case "false":
			*field(in) = false
		default:
			return fmt.Errorf("%s is neither true nor false", report.Quote(value))
		}
		return nil
	}
}

func number(field func(*inputs) *int, least, most int) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%s is not a number from %d to %d", report.Quote(value), least, most)
		}
		*field(in) = n
		return nil
	}
}

// duration takes whole seconds: that is how precise an expiry can be.
func duration(field func(*inputs) *time.Duration, least, most time.Duration) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d%time.Second != 0 {
			return fmt.Errorf("%s is not a duration of whole seconds such as 90s or 24h", report.Quote(value))
		}
		if d < least || d > most {
			return fmt.Errorf("%s is out of range; it can be from %v to %v", report.Quote(value), least, most)
		}
		*field(in) = d
		return nil
	}
}

func pairs(field func(*inputs) *map[string]string) func(*inputs, string) error {
	return eachLine(func(in *inputs, line string) error {
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !found || key == "" {
			// The line is not shown: it may be a secret in the wrong place.
			return errors.New("a line is not key=value")
		}
		m := field(in)
		if has(*m, key) {
			return fmt.Errorf("%s is set twice; set it once", report.Quote(key))
		}
		if *m == nil {
			*m = map[string]string{}
		}
		(*m)[key] = strings.TrimSpace(value)
		return nil
	})
}

// reservedMetadata is the prefix of the Notary Project's own annotations.
const reservedMetadata = "io.cncf.notary"

func userMetadata(field func(*inputs) *map[string]string) func(*inputs, string) error {
	parse := pairs(field)
	return func(in *inputs, value string) error {
		if err := parse(in, value); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(*field(in))) {
			if strings.HasPrefix(key, reservedMetadata) {
				return fmt.Errorf("%s begins with %s, which is for the Notary Project itself", report.Quote(key), reservedMetadata)
			}
		}
		return nil
	}
}

// A plugin's name is part of a path.
var pluginNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkPluginName(value string) error {
	if !pluginNamePattern.MatchString(value) {
		return fmt.Errorf("%s is not the name of a plugin, such as azure-kv", report.Quote(value))
	}
	return nil
}

var checksumPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func checksum(field func(*inputs) *string) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		value = strings.ToLower(value)
		if !checksumPattern.MatchString(value) {
			return fmt.Errorf("%s is not a SHA-256 of 64 hexadecimal digits", report.Quote(value))
		}
		*field(in) = value
		return nil
	}
}

// eachLine calls set for each line that is not empty.
func eachLine(set func(in *inputs, line string) error) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		for line := range strings.Lines(value) {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			if err := set(in, line); err != nil {
				return err
			}
		}
		return nil
	}
}

// join lists words: a, b, c.
func join[T ~string](words []T) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(word))
	}
	return b.String()
}
