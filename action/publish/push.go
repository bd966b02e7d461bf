// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// Options say how signatures are pushed.
type Options struct {
	// Mode is the input force_referrers_tag. "true": every signature is listed
	// in a referrers index too. Otherwise only where the registry has no
	// Referrers API.
	Mode string

	// Journal is a directory that outlives the run, where signatures are noted
	// until they are listed. Empty: none, and what a killed run leaves behind
	// is not found again.
	Journal string

	// Limit is how long an entry of a referrers index is tried to get listed, and
	// watched when others keep dropping it. Zero: a minute.
	Limit time.Duration
}

// Pusher pushes signatures so that none is lost. Its methods may be called
// concurrently. At the end of the run, settle must be called.
type Pusher struct {
	force   bool
	pace    pace
	journal *journal
	unnoted sync.Once // to say that the journal can't be written

	mu           sync.Mutex
	repositories map[registry.Store]*signatureStore
	indexes      map[string]*subjectIndex // by registry/repository@digest
}

// signatureStore is what a pusher knows of a repository.
type signatureStore struct {
	api atomic.Bool // the registry keeps the list of referrers: it said so of the last one, and a look has shown it

	look    sync.Mutex       // held while the first signature is looked for in the list
	listing registry.Listing // what that came to; 0: nobody has looked yet

	config sync.Mutex // held while the config blob is looked for
	ready  bool       // it is there
}

// subjectIndex is the referrers index of one subject, under each tag that it is looked
// for under, and what the run has put there.
type subjectIndex struct {
	target  registry.Target
	writers []*indexWriter
	adopt   sync.Once

	mu    sync.Mutex
	notes []string // of the journal, which the last look makes superfluous
}

// Pushed is a signature that is in the registry.
type Pushed struct {
	Manifest ocispec.Descriptor // of the signature manifest
	Envelope ocispec.Descriptor
	IndexTag string   // the tag of the referrers index that lists it; empty: the Referrers API does
	Warnings []string // what went wrong, although the signature is where it should be
}

// UnlistedError is of signatures that are in the registry, but can't be found there,
// because the list of the artifact's referrers lacks them.
type UnlistedError struct {
	Artifact   registry.Target
	Signatures []digest.Digest // of the signature manifests
	Err        error
}

// Error implements error.
func (e *UnlistedError) Error() string {
	names := make([]string, len(e.Signatures))
	for i, d := range e.Signatures {
		names[i] = d.String()
	}
	return fmt.Sprintf("signature %s of %s is in the registry, but not in the list of the artifact's referrers, so verification won't find it%s: %v", strings.Join(names, " and "), e.Artifact, e.advice(), e.Err)
}

func (e *UnlistedError) advice() string {
	if errors.As(e.Err, new(*registry.AdvisedError)) {
		return ""
	}
	return "; sign again"
}

// errListsNothing is of a registry where no verifier finds a signature: it answers
// as one does that keeps the list, so verifiers don't look under the referrers tag.
var errListsNothing error = &registry.AdvisedError{Advice: "the registry's Referrers API answers, and doesn't list a signature that it took; repair the registry or the proxy before it, or use another one"}

// lookPace is how often and how long a list of referrers is looked at until it has what
// the registry took, and how often at least, however long an answer took.
var lookPace = struct {
	pause, limit time.Duration
	least        int
}{500 * time.Millisecond, 5 * time.Second, 3}

// looks counts looks at a list.
type looks struct {
	start time.Time
	done  int
}

// again waits before the next look, and reports whether there is one.
func (l *looks) again(ctx context.Context) bool {
	if l.start.IsZero() {
		l.start = time.Now()
	}
	l.done++
	return (l.done < lookPace.least || time.Since(l.start) < lookPace.limit) && sleep(ctx, lookPace.pause) == nil
}

// Unwrap returns why they are not listed.
func (e *UnlistedError) Unwrap() error { return e.Err }

// New returns a pusher. It sends no request.
func New(options Options) *Pusher {
	pace := defaultPace
	if options.Limit > 0 {
		pace.limit = options.Limit
	}
	return &Pusher{
		force:        options.Mode == "true",
		pace:         pace,
		journal:      openJournal(options.Journal),
		repositories: map[registry.Store]*signatureStore{},
		indexes:      map[string]*subjectIndex{},
	}
}

// Push stores a signature of an artifact: the envelope, a signature manifest with
// the annotations, and, where the registry has no Referrers API, an entry in the
// artifact's referrers index. A context that ends stops it before the manifest is
// stored; what comes after that is finished. An error of type *UnlistedError says
// that the signature is stored, but not listed.
func (p *Pusher) Push(ctx context.Context, t registry.Target, envelope []byte, mediaType string, annotations map[string]string) (Pushed, error) {
	result, err := p.store(registry.CountRequests(toPush(ctx, t.Store)), t, envelope, mediaType, annotations)
	if err == nil {
		return result, nil
	}
	err = t.Store.Explain(ctx, true, err)
	var unlisted *UnlistedError
	if !errors.As(err, &unlisted) {
		err = fmt.Errorf("push the signature of %s: %w", t, err)
	}
	return result, err
}

func (p *Pusher) store(ctx context.Context, t registry.Target, envelope []byte, mediaType string, annotations map[string]string) (Pushed, error) {
	result := Pushed{Envelope: registry.DescriptorOf(mediaType, envelope)}
	desc, manifest, err := registry.SignatureManifest(t.Desc, result.Envelope, annotations)
	if err != nil {
		return result, err
	}
	result.Manifest = desc
	repository := p.repository(t.Store)
	if err := repository.storeBlobs(ctx, t.Store, result.Envelope, envelope); err != nil {
		return result, err
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	entry := desc // as an index has it
	entry.ArtifactType, entry.Annotations = registry.ArtifactTypeSignature, annotations
	note := ""
	if p.forces(t) || !repository.api.Load() {
		note = p.note(t, entry, &result)
	}
	sent := registry.Requests(ctx)
	lists, err := t.Store.PutManifest(ctx, desc, manifest, t.Desc.Digest)
	if err != nil {
		var response *errcode.ErrorResponse
		if errors.As(err, &response) && response.StatusCode < 500 && registry.Requests(ctx) == sent+1 {
			p.journal.strike(note) // or else it may be stored, and only the answer lost
		}
		return result, err
	}
	if err := p.list(ctx, t, entry, note, lists, &result); err != nil {
		return result, &UnlistedError{t, []digest.Digest{entry.Digest}, err}
	}
	return result, nil
}

// list sees to it that a signature is in the list in which verifiers look for it. lists
// says whether the registry claims to keep that.
func (p *Pusher) list(ctx context.Context, t registry.Target, entry ocispec.Descriptor, note string, lists bool, result *Pushed) error {
	repository := p.repository(t.Store)
	addToIndex := func() error {
		index := p.index(t)
		result.IndexTag = registry.ReferrersTag(t.Desc.Digest)
		result.Warnings = append(result.Warnings, index.adoptOrphans(ctx, p)...)
		return index.add(ctx, entry, note)
	}
	if p.forces(t) || !lists {
		if err := addToIndex(); err != nil {
			return err
		}
	}
	listing, err := repository.lookOnce(ctx, t, entry.Digest)
	if err != nil {
		return err
	}
	repository.api.Store(lists && listing == registry.Listed)
	switch {
	case listing == registry.Unlisted:
		return errListsNothing
	case p.forces(t) || !lists: // it is in the index
		return nil
	case listing == registry.NoAPI: // whatever the answer to the push was
		return addToIndex()
	}
	p.journal.strike(note)
	p.journal.forget(t)
	return nil
}

// lookOnce looks for the first signature in a repository where verifiers will: the
// answer to a push is the registry's word, and some answer for a list that they don't
// keep, or keep none and answer for it. What it finds holds for the others too.
func (s *signatureStore) lookOnce(ctx context.Context, t registry.Target, manifest digest.Digest) (registry.Listing, error) {
	s.look.Lock()
	defer s.look.Unlock()
	for tries := (looks{}); s.listing == 0; {
		listing, err := t.Store.Look(ctx, t.Desc, manifest)
		if err == nil && listing != registry.Unlisted {
			s.listing = listing
			break
		}
		if tries.again(ctx) {
			continue // it may be about to be listed
		}
		if err != nil {
			return 0, fmt.Errorf("look whether it is listed: %w", err)
		}
		s.listing = listing
	}
	return s.listing, nil
}

// Listable returns an error if no signature of an artifact can be found in its
// repository, so that none needs to be made.
func (p *Pusher) Listable(ctx context.Context, t registry.Target) error {
	repository := p.repository(t.Store)
	repository.look.Lock()
	known := repository.listing
	repository.look.Unlock()
	if known == registry.Unlisted {
		return fmt.Errorf("%s: the signature would not be found: %w", t, errListsNothing)
	}
	if t.Desc.Digest.Algorithm() != digest.SHA512 {
		return nil
	}
	ctx = toPush(ctx, t.Store)
	listing, err := t.Store.Look(ctx, t.Desc, "")
	if err != nil {
		return fmt.Errorf("look whether %s can be signed: %w", t, t.Store.Explain(ctx, false, err))
	}
	if listing == registry.NoAPI {
		return fmt.Errorf("%s can't be signed: %w", t, registry.ErrUnlistable)
	}
	return nil
}

// note writes a signature's note. One warning is enough where that can't be done.
func (p *Pusher) note(t registry.Target, entry ocispec.Descriptor, result *Pushed) string {
	note, err := p.journal.note(t, entry)
	if err != nil {
		p.unnoted.Do(func() {
			result.Warnings = append(result.Warnings, fmt.Sprintf("no notes can be kept of signatures that are not yet listed, so if this run is killed, the next one can't finish its work: %v", err))
		})
	}
	return note
}

// Settle has the last look at all referrers indexes that the run has written, and
// puts back what others' updates dropped. Each error is an *UnlistedError.
func (p *Pusher) Settle(ctx context.Context) []error {
	p.mu.Lock()
	indexes := slices.Collect(maps.Values(p.indexes))
	p.mu.Unlock()
	errs := make([]error, len(indexes))
	var group errgroup.Group
	group.SetLimit(32) // most of them wait
	for i, index := range indexes {
		group.Go(func() error {
			errs[i] = p.settleIndex(ctx, index)
			return nil
		})
	}
	group.Wait() // no call returns an error
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

func (p *Pusher) settleIndex(ctx context.Context, index *subjectIndex) error {
	ctx = toPush(ctx, index.target.Store)
	var missing []ocispec.Descriptor
	var err error
	for _, writer := range index.writers {
		lacking, fault := writer.settle(ctx)
		missing, err = append(missing, lacking...), errors.Join(err, fault)
	}
	if err == nil {
		if ctx.Err() != nil {
			return nil // the look came too soon to rely on, so the notes stay for the next run
		}
		index.mu.Lock()
		defer index.mu.Unlock()
		for _, note := range index.notes {
			p.journal.strike(note)
		}
		index.notes = nil
		return nil
	}
	unlisted := &UnlistedError{Artifact: index.target, Err: index.target.Store.Explain(ctx, true, err)}
	for _, entry := range missing {
		if !slices.Contains(unlisted.Signatures, entry.Digest) { // by another tag
			unlisted.Signatures = append(unlisted.Signatures, entry.Digest)
		}
	}
	return unlisted
}

// forces reports whether every referrer of an artifact is listed by the tag schema, too.
func (p *Pusher) forces(t registry.Target) bool { return p.force && t.Store.TagSchema() != nil }

func (p *Pusher) repository(at registry.Store) *signatureStore {
	p.mu.Lock()
	defer p.mu.Unlock()
	store, ok := p.repositories[at]
	if !ok {
		store = &signatureStore{}
		p.repositories[at] = store
	}
	return store
}

func (p *Pusher) index(t registry.Target) *subjectIndex {
	p.mu.Lock()
	defer p.mu.Unlock()
	index, ok := p.indexes[t.String()]
	if !ok {
		index = &subjectIndex{target: t}
		for _, tag := range registry.ReferrersTags(t.Desc.Digest) {
			index.writers = append(index.writers, newIndexWriter(&registryTag{repo: t.Store.TagSchema(), subject: t.Desc.Digest, tag: tag}, p.pace))
		}
		p.indexes[t.String()] = index
	}
	return index
}

// add puts an entry into the index. Its note is kept until the last look, and
// after an error for the next run.
func (x *subjectIndex) add(ctx context.Context, entry ocispec.Descriptor, note string) error {
	for _, writer := range x.writers {
		if err := writer.add(ctx, entry); err != nil {
			return err
		}
	}
	x.keep(note)
	return nil
}

func (x *subjectIndex) keep(note string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.notes = append(x.notes, note)
}

// adoptOrphans finishes, once, what runs that were killed have left undone: their
// signatures get listed together with ours. It returns what to say of that.
func (x *subjectIndex) adoptOrphans(ctx context.Context, p *Pusher) (said []string) {
	x.adopt.Do(func() {
		orphans, err := p.journal.orphans(x.target)
		if err != nil {
			said = append(said, fmt.Sprintf("look for signatures that an earlier run did not finish: %v", err))
		}
		for _, orphan := range orphans {
			switch stored, err := isStored(ctx, x.target, orphan.entry); {
			case err != nil:
				said = append(said, fmt.Sprintf("an earlier run ended before it listed the signature %s, which can't be read now: %v", orphan.entry.Digest, x.target.Store.Explain(ctx, false, err)))
			case stored:
				for _, writer := range x.writers {
					writer.enqueue(orphan.entry)
				}
				x.keep(orphan.note)
				said = append(said, fmt.Sprintf("an earlier run ended before it listed the signature %s of %s: it gets listed with the new one", orphan.entry.Digest, x.target))
			default:
				p.journal.strike(orphan.note)
			}
		}
	})
	return said
}

// toPush makes all requests of a context ask for one set of rights, to pull and to
// push, so that no token has to be fetched between a read and a write.
func toPush(ctx context.Context, to registry.Store) context.Context {
	return auth.AppendRepositoryScope(ctx, to.Repository(), auth.ActionPull, auth.ActionPush)
}

// storeBlobs stores what a signature manifest refers to: the config first, so that
// one request fetches the token that all others have.
func (s *signatureStore) storeBlobs(ctx context.Context, to registry.Store, desc ocispec.Descriptor, envelope []byte) error {
	if err := s.storeConfig(ctx, to); err != nil {
		return err
	}
	if err := s.pushBlob(ctx, to, desc, envelope); err != nil {
		return err
	}
	return ctx.Err()
}

// storeConfig makes sure that the config blob is in the repository.
func (s *signatureStore) storeConfig(ctx context.Context, to registry.Store) error {
	s.config.Lock()
	defer s.config.Unlock()
	if s.ready {
		return nil
	}
	exists, err := to.Blobs().Exists(ctx, registry.SignatureConfig)
	var response *errcode.ErrorResponse
	if errors.As(err, &response) && response.URL.Host != to.Repository().Host() {
		exists, err = false, nil // the registry has it; the store that it redirects to takes no HEAD, and to push it again does no harm
	}
	if err == nil && !exists {
		err = s.pushBlob(ctx, to, registry.SignatureConfig, ocispec.DescriptorEmptyJSON.Data)
	}
	s.ready = err == nil
	return err
}

// pushBlob pushes a blob, and starts again once: when the answer to an upload is
// lost, the upload can't be repeated, but a new one can be made.
func (s *signatureStore) pushBlob(ctx context.Context, to registry.Store, desc ocispec.Descriptor, blob []byte) error {
	err := to.Put(ctx, desc, blob)
	if err != nil && ctx.Err() == nil && worthAnotherUpload(err) {
		err = to.Put(ctx, desc, blob)
	}
	return err
}

// worthAnotherUpload reports whether a new upload may get over an error. Registries
// have many ways to say that they don't know an upload any more, and one more way
// is that the token, which both requests of an upload share, has expired between
// them. That the registry does not want the blob is none of these.
func worthAnotherUpload(err error) bool {
	var response *errcode.ErrorResponse
	if !errors.As(err, &response) || response.StatusCode >= 500 {
		return true
	}
	switch response.StatusCode {
	case http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return false
	}
	return response.Method == http.MethodPut
}
