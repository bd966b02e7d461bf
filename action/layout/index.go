// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// indexFile is an index.json that is about to be changed. What others put into it
// stays as it is.
type indexFile struct {
	members   map[string]json.RawMessage // manifests aside
	manifests []rawEntry
}

// rawEntry is an entry of index.json.
type rawEntry struct {
	text json.RawMessage
	desc ocispec.Descriptor
}

// readIndexFile reads the index.json of a layout; an empty one, if there is none.
func readIndexFile(root *os.Root) (*indexFile, error) {
	x := &indexFile{}
	reader := &Layout{files: directory{root}}
	err := reader.readJSON(ocispec.ImageIndexFile, &x.members)
	if errors.Is(err, fs.ErrNotExist) {
		x.members = map[string]json.RawMessage{"schemaVersion": json.RawMessage("2"), "mediaType": json.RawMessage(`"` + ocispec.MediaTypeImageIndex + `"`)}
		return x, nil
	}
	if err != nil {
		return nil, err
	}
	var manifests []json.RawMessage
	if text := x.members["manifests"]; text != nil {
		if err := json.Unmarshal(text, &manifests); err != nil {
			return nil, fmt.Errorf("its %s: %w", ocispec.ImageIndexFile, err)
		}
	}
	for _, text := range manifests {
		listed := rawEntry{text: text}
		if err := json.Unmarshal(text, &listed.desc); err != nil {
			return nil, fmt.Errorf("its %s: %w", ocispec.ImageIndexFile, err)
		}
		x.manifests = append(x.manifests, listed)
	}
	return x, nil
}

// text is the index as JSON.
func (x *indexFile) text() ([]byte, error) {
	if len(x.manifests) > registry.MaxListed {
		return nil, registry.ErrTooLong
	}
	manifests := make([]json.RawMessage, len(x.manifests))
	for i, listed := range x.manifests {
		manifests[i] = listed.text
	}
	text, err := registry.Marshal(manifests)
	if err != nil {
		return nil, err
	}
	x.members["manifests"] = text
	if text, err = registry.Marshal(x.members); err == nil && len(text) > maxIndexBytes {
		err = fmt.Errorf("its %s would have more than %d bytes", ocispec.ImageIndexFile, maxIndexBytes)
	}
	return text, err
}

// change makes changes, one after the other, and reports whether that changed anything. A
// change that is refused leaves the index as it was.
func (x *indexFile) change(changes []*indexChange) (changed bool) {
	for _, c := range changes {
		var did bool
		did, c.err = c.change(x)
		changed = changed || did
	}
	return changed
}

// list lists a manifest, unless it is listed.
func (x *indexFile) list(desc ocispec.Descriptor) (changed bool, _ error) {
	if slices.ContainsFunc(x.manifests, func(l rawEntry) bool { return l.desc.Digest == desc.Digest }) {
		return false, nil
	}
	return true, x.add(desc, nil)
}

func (x *indexFile) add(desc ocispec.Descriptor, annotations map[string]string) error {
	entry := ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size, Annotations: annotations}
	text, err := registry.Marshal(entry)
	x.manifests = append(x.manifests, rawEntry{text, entry})
	return err
}

// name has a name stand for a manifest, and for no other. What had the name stays listed
// without it.
func (x *indexFile) name(desc ocispec.Descriptor, name string) (changed bool, _ error) {
	if err := x.free(desc, name, &changed); err != nil {
		return changed, err
	}
	unnamed := -1
	for i, listed := range x.manifests {
		if listed.desc.Digest != desc.Digest {
			continue
		}
		if listed.named(name) {
			return changed, nil
		}
		if listed.desc.Annotations[ocispec.AnnotationRefName] == "" && unnamed < 0 {
			unnamed = i
		}
	}
	if unnamed < 0 {
		return true, x.add(desc, map[string]string{ocispec.AnnotationRefName: name})
	}
	return true, x.manifests[unnamed].annotate(func(annotations map[string]string) { annotations[ocispec.AnnotationRefName] = name })
}

// free takes a name from the other manifest that has it.
func (x *indexFile) free(desc ocispec.Descriptor, name string, changed *bool) error {
	var holders []int
	for i, listed := range x.manifests {
		if listed.named(name) && listed.desc.Digest != desc.Digest {
			holders = append(holders, i)
		}
	}
	if len(holders) == 0 {
		return nil
	}
	first := x.manifests[holders[0]].desc.Digest
	for _, i := range holders {
		if other := x.manifests[i].desc.Digest; other != first {
			return fmt.Errorf("the name %q is that of both %s and %s in it; remove it from them, or use another name", name, first, other)
		}
	}
	for _, i := range holders {
		if err := x.manifests[i].annotate(func(annotations map[string]string) {
			for _, annotation := range nameAnnotations {
				if annotations[annotation] == name {
					delete(annotations, annotation)
				}
			}
		}); err != nil {
			return err
		}
	}
	*changed = true
	return nil
}

func (l *rawEntry) named(name string) bool {
	return slices.ContainsFunc(nameAnnotations, func(annotation string) bool { return l.desc.Annotations[annotation] == name })
}

// annotate changes the annotations of an entry, and nothing else of it.
func (l *rawEntry) annotate(change func(map[string]string)) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(l.text, &members); err != nil {
		return err
	}
	if l.desc.Annotations == nil {
		l.desc.Annotations = map[string]string{}
	}
	change(l.desc.Annotations)
	annotations, err := registry.Marshal(l.desc.Annotations)
	if err != nil {
		return err
	}
	if members["annotations"] = annotations; len(l.desc.Annotations) == 0 {
		delete(members, "annotations")
	}
	l.text, err = registry.Marshal(members)
	return err
}
