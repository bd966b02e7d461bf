// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/layout"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// destination is where an artifact gets to, or is, with the tags that it gets there.
type destination struct {
	text    string // as the user wrote it
	at      registry.Location
	digest  digest.Digest // that the artifact must have; empty: any
	tags    []string      // in a layout: names
	source  string        // where the artifact comes from
	isThere bool          // it is the source itself
}

// findDestinations finds where artifacts go. Without sources and tags there is nothing
// of the kind: targets are only resolved.
func (in *inputs) findDestinations() ([]destination, error) {
	if len(in.sources) == 0 {
		for _, target := range in.targets {
			if d, err := parseDestination(target); err != nil || d.at.Layout == "" && d.digest == "" && len(d.tags) == 0 {
				return nil, fmt.Errorf("target_artifact_reference: %s has neither a digest nor a tag", report.Quote(target))
			}
		}
	}
	if len(in.sources) == 0 && len(in.tags) == 0 {
		return nil, nil
	}
	var list destinations
	for i, target := range in.targets {
		d, err := parseDestination(target)
		if err != nil {
			return nil, err
		}
		switch len(in.sources) {
		case 0:
			d = destination{text: target, at: d.at, source: target, isThere: true}
		case 1:
			d.source = in.sources[0]
		default:
			d.source = in.sources[i]
		}
		list.add(d)
	}
	named := len(list.all)
	for _, tag := range in.tags {
		if tagPattern.MatchString(tag) {
			for i := range list.all[:named] {
				list.all[i].addTags(tag)
			}
			continue
		}
		d, err := parseDestination(tag)
		if err != nil {
			return nil, err
		}
		d.source = list.all[0].source
		list.add(d)
	}
	return list.all, checkTags(list.all)
}

// parseDestination parses REGISTRY/REPOSITORY[:TAG][@DIGEST], or a layout.
func parseDestination(text string) (destination, error) {
	if rest, isLayout := registry.LayoutPath(text); isLayout {
		return parseLayoutDestination(text, rest)
	}
	name, pinned, _ := strings.Cut(text, "@")
	ref, err := parseReference(name)
	if err != nil {
		return destination{}, err
	}
	d := destination{text: text, digest: digest.Digest(pinned)}
	if ref.Reference != "" {
		d.tags = []string{ref.Reference}
	}
	ref.Reference = ""
	d.at.Repository = ref
	return d, nil
}

func parseLayoutDestination(text, rest string) (destination, error) {
	if strings.HasPrefix(text, "oci-archive:") {
		return destination{}, fmt.Errorf("%s is an archive, and nothing is written into one; name a directory with oci-layout:DIR", report.Quote(text))
	}
	ref, err := registry.ParseLayoutReference(rest)
	if err != nil {
		return destination{}, fmt.Errorf("%s: %w", report.Quote(text), err)
	}
	d := destination{text: text, at: registry.LayoutLocation(ref.Path), digest: ref.Digest}
	if ref.Name != "" {
		d.tags = []string{ref.Name}
	}
	return d, nil
}

// destinations are those of a run, each once.
type destinations struct {
	all   []destination
	index map[string]int
}

// add adds a destination, or its tags to one that is the same artifact in the same
// repository.
func (l *destinations) add(d destination) {
	key := fmt.Sprintf("%s@%s from %s", d.at, d.digest, d.source)
	if i, known := l.index[key]; known {
		l.all[i].addTags(d.tags...)
		return
	}
	if l.index == nil {
		l.index = map[string]int{}
	}
	l.index[key] = len(l.all)
	l.all = append(l.all, d)
}

func (d *destination) addTags(tags ...string) {
	for _, tag := range tags {
		if !slices.Contains(d.tags, tag) {
			d.tags = append(d.tags, tag)
		}
	}
}

// checkTags refuses a tag that two artifacts would get, or none can.
func checkTags(list []destination) error {
	sources := map[string]string{}
	for _, d := range list {
		for _, tag := range d.tags {
			if d.at.Layout != "" {
				if err := layout.CheckName(tag); err != nil {
					return err
				}
			}
			name := d.at.String() + ":" + tag
			if other, taken := sources[name]; taken && other != d.source {
				return fmt.Errorf("the tag %s would be set for two sources: %s and %s", report.Quote(name), report.Quote(other), report.Quote(d.source))
			}
			sources[name] = d.source
		}
	}
	return nil
}

// locations are those of all artifacts of the run, but those of sources.
func (in *inputs) locations() ([]registry.Location, error) {
	var list []registry.Location
	for _, d := range in.destinations {
		list = append(list, d.at)
	}
	if len(list) > 0 {
		return list, nil
	}
	for _, target := range in.targets {
		d, err := parseDestination(target)
		if err != nil {
			return nil, err
		}
		list = append(list, d.at)
	}
	return list, nil
}

// scopeAt is what the trust policy statement for a location is chosen by.
func (in *inputs) scopeAt(l registry.Location) orasregistry.Reference {
	if l.Layout != "" {
		return in.trustPolicyScope
	}
	return l.Repository
}

// sourceReferences are those of the sources that are in registries.
func (in *inputs) sourceReferences() []string {
	var list []string
	for _, source := range in.sources {
		if _, isLayout := registry.LayoutPath(source); !isLayout {
			list = append(list, sourceReference(source))
		}
	}
	return list
}

// sourceReference is the reference of a source in a registry.
func sourceReference(source string) string {
	for _, scheme := range []string{"docker://", "oci://"} {
		source = strings.TrimPrefix(source, scheme)
	}
	return source
}

// sources are layouts and references.
func sources(field func(*inputs) *[]string) func(*inputs, string) error {
	return eachLineOrFile(func(in *inputs, line string) error {
		if rest, isLayout := registry.LayoutPath(line); isLayout {
			if _, err := registry.ParseLayoutReference(rest); err != nil {
				return fmt.Errorf("%s: %w", report.Quote(line), err)
			}
		} else if ref, err := parseReference(sourceReference(line)); err != nil {
			return err
		} else if ref.Reference == "" {
			return fmt.Errorf("%s has neither a digest nor a tag", report.Quote(line))
		}
		*field(in) = append(*field(in), line)
		return nil
	})
}

// tagPattern is that of the distribution specification.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// tags are names, or references with a tag.
func tags(field func(*inputs) *[]string) func(*inputs, string) error {
	return eachLineOrFile(func(in *inputs, line string) error {
		if !tagPattern.MatchString(line) {
			d, err := parseDestination(line)
			if err != nil {
				return err
			}
			if d.digest != "" || len(d.tags) == 0 {
				return fmt.Errorf("%s is neither a tag nor a reference with a tag", report.Quote(line))
			}
		}
		*field(in) = append(*field(in), line)
		return nil
	})
}

// referrerChoice says which referrers are copied.
type referrerChoice struct {
	all   bool
	types []string // artifact types
}

// copies returns whether a referrer is copied, as a function of its artifact type; nil:
// none is.
func (c referrerChoice) copies(always ...string) func(artifactType string) bool {
	wanted := slices.Concat(c.types, always)
	switch {
	case c.all:
		return func(string) bool { return true }
	case len(wanted) == 0:
		return nil
	}
	return func(artifactType string) bool { return slices.Contains(wanted, artifactType) }
}

// referrerTypes takes true, false, or artifact types.
func referrerTypes(field func(*inputs) *referrerChoice) func(*inputs, string) error {
	return func(in *inputs, value string) error {
		switch strings.ToLower(value) {
		case "true":
			*field(in) = referrerChoice{all: true}
			return nil
		case "false":
			return nil
		}
		return eachLine(func(in *inputs, line string) error {
			if !strings.Contains(line, "/") || strings.ContainsAny(line, " \t,") {
				return fmt.Errorf("%s is neither true, false nor an artifact type such as application/spdx+json", report.Quote(line))
			}
			field(in).types = append(field(in).types, line)
			return nil
		})(in, value)
	}
}

// maxLines bounds a file of lines, in bytes.
const maxLines = 16 << 20

// eachLineOrFile is eachLine, where a line @FILE stands for the lines of a file.
func eachLineOrFile(set func(in *inputs, line string) error) func(*inputs, string) error {
	return eachLine(func(in *inputs, line string) error {
		path, isFile := strings.CutPrefix(line, "@")
		if !isFile {
			return set(in, line)
		}
		content, err := readLines(path)
		if err != nil {
			return fmt.Errorf("%s: %w", report.Quote(line), err)
		}
		if err := eachLine(set)(in, string(content)); err != nil {
			return fmt.Errorf("file %s: %w", report.Quote(path), err)
		}
		return nil
	})
}

func readLines(path string) (_ []byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe could be waited for without end
		return nil, errors.New("it is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := io.ReadAll(io.LimitReader(file, maxLines+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > maxLines:
		return nil, fmt.Errorf("it has more than %d bytes", maxLines)
	case bytes.IndexByte(content, 0) >= 0:
		return nil, errors.New("it is no text")
	}
	return content, nil
}
