// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
)

// Copied is what was copied of an artifact to its repository.
type Copied struct {
	Manifests int    `json:"manifests"`          // with those that refer to it, and those that were there
	Referrers int    `json:"referrers"`          // of the manifests: those that refer to it
	Blobs     int    `json:"blobs"`              // with those that were there
	Sent      int    `json:"sent"`               // of the blobs: uploaded
	Mounted   int    `json:"mounted"`            // of the blobs: from another repository of the registry
	Bytes     int64  `json:"bytes"`              // that were uploaded
	Untagged  string `json:"untagged,omitempty"` // from the first manifest to the tag, such as 1.25s
}

// Attached is a file that is attached to an artifact.
type Attached struct {
	File         string `json:"file"` // as the user wrote it
	ArtifactType string `json:"artifactType"`
	Existed      bool   `json:"existed,omitempty"` // it was attached before
}

// Tag is a tag that an artifact was to get.
type Tag struct {
	Reference string    `json:"reference"`        // registry/repository:tag
	Result    TagResult `json:"result"`           //
	Before    string    `json:"before,omitempty"` // digest of what it named when it was to be set
}

// TagResult is what became of a tag.
type TagResult string

// Results of tags.
const (
	TagSet       TagResult = "set"
	TagUnchanged TagResult = "unchanged" // it named the artifact already
	TagNotSet    TagResult = "not set"   // it names what it named before
)

// isTagged reports whether the artifact has all tags that it was to get, and there are
// some.
func (a *Artifact) isTagged() bool {
	return len(a.Tags) > 0 && !slices.ContainsFunc(a.Tags, func(t Tag) bool { return t.Result == TagNotSet })
}

// copied adds what was copied, and from where.
func (w *itemWriter) copied(a *Artifact) {
	if f := a.Attached; f != nil {
		w.add(0, "the file %s, as %s", Terminal(f.File), Terminal(f.ArtifactType))
	}
	if a.Source != "" {
		w.add(0, "from %s", Terminal(a.Source))
	}
	if c := a.Copied; c != nil {
		w.add(1, "%s, of which %d refer to it, and %s: %d sent with %s, %d mounted", count(c.Manifests, "manifest"), c.Referrers,
			count(c.Blobs, "blob"), c.Sent, size(c.Bytes), c.Mounted)
		if c.Untagged != "" {
			w.add(1, "%s from the first manifest to the tag", Terminal(c.Untagged))
		}
	}
	if v := a.AtSource; v != nil {
		w.add(0, "at the source: %s", Terminal(string(v.Verdict)))
		if a.Verification == nil { // else they are shown there, too
			w.verification(&Artifact{Verification: v})
		}
	}
}

// tags adds what became of the tags.
func (w *itemWriter) tags(list []Tag) {
	for _, t := range list {
		switch {
		case t.Result == TagSet && t.Before != "":
			w.add(0, "tag %s: set; it named %s before", Terminal(t.Reference), Terminal(t.Before))
		case t.Result == TagNotSet && t.Before != "":
			w.add(0, "tag %s: not set; it still names %s", Terminal(t.Reference), Terminal(t.Before))
		default:
			w.add(0, "tag %s: %s", Terminal(t.Reference), Terminal(string(t.Result)))
		}
	}
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const unit = 1 << 20
	if bytes < unit {
		return count(int(bytes), "byte")
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/unit)
}
