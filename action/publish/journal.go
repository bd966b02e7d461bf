// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

const (
	maxNoteBytes = 64 << 10
	maxOrphans   = 100 // of one artifact, that one run takes care of

	// abandoned is the age at which a note counts as left behind even if a
	// process of its number runs.
	abandoned = time.Hour
)

// journal is a directory with a note, a file, for each signature that this run and
// others on this machine are about to store and list. The manifest of a signature
// that is stored, but not listed, can't be found in a registry: nothing lists it.
// So the note is written first, and struck when the signature is seen to be
// listed. A nil journal notes nothing.
type journal struct {
	dir    string
	own    int       // the process
	opened time.Time // what has our number and is older is not ours
}

// note is what a file of the journal says.
type note struct {
	Artifact string             `json:"artifact"` // registry/repository@digest
	Entry    ocispec.Descriptor `json:"entry"`    // as it is to stand in the index
	Process  int                `json:"process"`
	Time     time.Time          `json:"time"`
}

// orphan is a signature that was noted by a run that is no more.
type orphan struct {
	entry ocispec.Descriptor
	note  string // the file
}

func openJournal(dir string) *journal {
	if dir == "" {
		return nil
	}
	return &journal{dir: dir, own: os.Getpid(), opened: time.Now()}
}

// note writes the note of a signature and returns its file's path.
func (j *journal) note(t registry.Target, entry ocispec.Descriptor) (path string, err error) {
	if j == nil {
		return "", nil
	}
	content, err := json.Marshal(note{t.String(), entry, j.own, time.Now()})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return "", err
	}
	// Under another name until it is whole.
	file, err := os.CreateTemp(j.dir, "new-*")
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	path = filepath.Join(j.dir, prefix(t)+entry.Digest.Encoded()+".json")
	if err := os.Rename(file.Name(), path); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return path, nil
}

// strike removes a note. One that can't be removed costs the next run a request,
// no more.
func (j *journal) strike(path string) {
	if j != nil && path != "" {
		os.Remove(path)
	}
}

// orphans returns what runs that are no more have noted of an artifact.
func (j *journal) orphans(t registry.Target) ([]orphan, error) {
	if j == nil {
		return nil, nil
	}
	files, err := os.ReadDir(j.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var found []orphan
	var errs []error
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), prefix(t)) {
			continue
		}
		path := filepath.Join(j.dir, file.Name())
		n, err := readNote(path)
		switch {
		case errors.Is(err, os.ErrNotExist): // struck in the meantime
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		case n.Artifact != t.String() || j.inHand(n):
		case len(found) == maxOrphans:
			return found, errors.Join(append(errs, fmt.Errorf("%s has more than %d notes of %s; the next run takes care of more", j.dir, maxOrphans, t))...)
		default:
			found = append(found, orphan{n.Entry, path})
		}
	}
	return found, errors.Join(errs...)
}

// forget strikes what runs that are no more have noted of an artifact, where the
// registry lists by itself whatever they have stored. A note that can't be read or
// struck is left, and costs no more than its space.
func (j *journal) forget(t registry.Target) {
	orphans, _ := j.orphans(t)
	for _, orphan := range orphans {
		j.strike(orphan.note)
	}
}

func readNote(path string) (n note, err error) {
	file, err := os.Open(path)
	if err != nil {
		return note{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := io.ReadAll(io.LimitReader(file, maxNoteBytes))
	if err != nil {
		return note{}, err
	}
	if err := json.Unmarshal(content, &n); err != nil {
		return note{}, err
	}
	return n, n.Entry.Digest.Validate()
}

// inHand reports whether the process that wrote a note will take care of it. To
// be wrong does no harm: an entry that two processes add is there once.
func (j *journal) inHand(n note) bool {
	if time.Since(n.Time) > abandoned {
		return false
	}
	if n.Process == j.own {
		return n.Time.After(j.opened) // in a container each run is process 1
	}
	process, err := os.FindProcess(n.Process)
	if err != nil {
		return false
	}
	defer process.Release()
	return !errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// prefix is how the names of an artifact's notes begin.
func prefix(t registry.Target) string {
	return digest.FromString(t.String()).Encoded()[:16] + "-"
}

// isStored reports whether an orphan's manifest is in the registry and is a
// signature of the artifact.
func isStored(ctx context.Context, t registry.Target, entry ocispec.Descriptor) (bool, error) {
	answer, err := registry.GetManifest(ctx, t.Store.TagSchema(), entry.Digest.String(), ocispec.MediaTypeImageManifest)
	if errors.Is(err, errdef.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if digest.FromBytes(answer.Body) != entry.Digest { // and of what it is then, nothing is decoded
		return false, fmt.Errorf("%s: the registry sent something else", entry.Digest)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(answer.Body, &manifest); err != nil {
		return false, err
	}
	if manifest.Config.MediaType != registry.ArtifactTypeSignature || manifest.Subject == nil || manifest.Subject.Digest != t.Desc.Digest {
		return false, errors.New("the manifest is not a signature of this artifact")
	}
	return true, nil
}
