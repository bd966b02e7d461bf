// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// Copier copies artifacts from their sources into repositories, by digest, and sets
// their tags when it is told to. What is there already is not sent. Its methods may be
// called concurrently.
type Copier struct {
	pusher *Pusher
	slots  chan struct{} // one is held by each request that sends, or looks for, a blob or a manifest
	stall  time.Duration // after which a transfer without a byte ends
	pause  time.Duration // before a blob is sent again; it doubles

	planned, moved atomic.Int64 // bytes

	mu    sync.Mutex
	blobs map[string]*sharedBlob // by repository and digest
	lists map[string]*referrerList
}

// sharedBlob is a blob that several artifacts of a repository may have.
type sharedBlob struct {
	done chan struct{}
	err  error
}

// referrerList is what a target is found to list as referring to a manifest.
type referrerList struct {
	once   sync.Once
	listed map[digest.Digest]bool
}

// Copied is what copying an artifact came to.
type Copied struct {
	Manifests, Blobs int       // that are at the target now
	Sent, Mounted    int       // of the blobs
	Bytes            int64     // that were sent
	Since            time.Time // when the first manifest was sent; zero: none was
}

// NewCopier returns a copier that sends as many things at once as it is told. What
// refers to an artifact is listed by way of the pusher.
func NewCopier(pusher *Pusher, concurrency int) *Copier {
	return &Copier{
		pusher: pusher,
		slots:  make(chan struct{}, concurrency),
		stall:  time.Minute,
		pause:  500 * time.Millisecond,
		blobs:  map[string]*sharedBlob{},
		lists:  map[string]*referrerList{},
	}
}

// Progress returns how many bytes were moved, or found to be there, and of how many.
func (c *Copier) Progress() (moved, planned int64) { return c.moved.Load(), c.planned.Load() }

// Copy copies an artifact into the repository of a target: all blobs, then the
// manifests, what another refers to before that. No tag is set. The context should not
// end but with the run: a transfer in which nothing moves ends by itself.
func (c *Copier) Copy(ctx context.Context, plan *Plan, to registry.Target) (*Copied, error) {
	c.planned.Add(plan.Bytes)
	copied := &copying{Copier: c, plan: plan, to: to}
	ctx = toPush(ctx, to.Store)
	err := copied.sendBlobs(ctx)
	if err == nil {
		err = copied.sendManifests(ctx)
	}
	result := &Copied{
		Manifests: len(plan.manifests), Blobs: len(plan.blobs),
		Sent: int(copied.sent.Load()), Mounted: int(copied.mounted.Load()), Bytes: copied.bytes.Load(),
		Since: copied.since,
	}
	if err != nil {
		return result, fmt.Errorf("copy %s to %s: %w", plan.Source, to, c.explain(ctx, plan, to, err))
	}
	return result, nil
}

// explain adds what is needed to fix an error, on the side that it is of.
func (c *Copier) explain(ctx context.Context, plan *Plan, to registry.Target, err error) error {
	var source *sourceError
	if errors.As(err, &source) {
		return fmt.Errorf("at the source: %w", plan.Source.Explain(ctx, err))
	}
	return fmt.Errorf("at the target: %w", to.Store.Explain(ctx, true, err))
}

// copying is one artifact on its way into one repository.
type copying struct {
	*Copier
	plan *Plan
	to   registry.Target

	sent, mounted, bytes atomic.Int64
	admitted, sendable   atomic.Bool // the credentials were good for looking for a blob, and for sending one
	begun                sync.Once
	since                time.Time

	claimed claimed
}

// sendBlobs sends all blobs: one first, so that one request fetches the token that all
// others have, and wrong credentials are sent once.
func (c *copying) sendBlobs(ctx context.Context) error {
	blobs := c.plan.blobs
	if len(blobs) == 0 {
		return nil
	}
	if err := c.sendBlob(ctx, blobs[0]); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(c.slots))
	for i := len(blobs) - 1; i > 0; i-- { // the large ones first: they take longest
		group.Go(func() error { return c.sendBlob(ctx, blobs[i]) })
	}
	return group.Wait()
}

// sendBlob makes sure that a blob is in the repository. It is sent once, however many
// artifacts of the run have it.
func (c *copying) sendBlob(ctx context.Context, blob plannedBlob) error {
	key := c.to.Store.String() + "@" + blob.desc.Digest.String()
	c.mu.Lock()
	shared := c.blobs[key]
	if shared != nil {
		c.mu.Unlock()
		select {
		case <-shared.done:
			c.moved.Add(blob.desc.Size)
			return shared.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	shared = &sharedBlob{done: make(chan struct{})}
	c.blobs[key] = shared
	c.mu.Unlock()
	defer close(shared.done)
	if shared.err = c.take(ctx); shared.err == nil {
		shared.err = c.upload(ctx, blob)
		<-c.slots
	}
	if shared.err != nil {
		c.mu.Lock()
		delete(c.blobs, key) // another artifact may have more luck
		c.mu.Unlock()
	}
	return shared.err
}

func (c *Copier) take(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxSendings is how many times a blob is sent at most.
const maxSendings = 5

// upload sends a blob if it is not there, again where that may help.
func (c *copying) upload(ctx context.Context, blob plannedBlob) error {
	exists, err := c.exists(ctx, blob.desc)
	if err != nil {
		return err
	}
	c.admitted.Store(true)
	if exists {
		c.moved.Add(blob.desc.Size)
		return nil
	}
	for sending := 1; ; sending++ {
		err := c.send(ctx, blob.desc)
		var source *sourceError
		if blob.foreign && errors.As(err, &source) && isAbsent(err) {
			return nil
		}
		if err == nil {
			c.sendable.Store(true)
			return nil
		}
		if ctx.Err() != nil || sending == maxSendings || !worthSendingAgain(err, sending == 1 || c.sendable.Load()) {
			return err
		}
		if sleep(ctx, c.pause<<(sending-1)+rand.N(c.pause)) != nil {
			return err
		}
	}
}

// exists looks for a blob. A token that was shared with other requests may end in
// between, so credentials that were good are tried again.
func (c *copying) exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	for look := 1; ; look++ {
		exists, err := c.to.Store.Blobs().Exists(ctx, desc)
		var response *errcode.ErrorResponse
		expired := errors.As(err, &response) && response.StatusCode == http.StatusUnauthorized && response.Method == http.MethodHead && c.admitted.Load()
		if err == nil || !expired || look == maxSendings {
			return exists, err
		}
	}
}

// send mounts a blob, or sends it, once.
func (c *copying) send(ctx context.Context, desc ocispec.Descriptor) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := &transfer{
		desc:  desc,
		open:  func() (io.ReadCloser, error) { return c.plan.Source.Blob(ctx, desc) },
		moved: &c.moved, limit: c.stall, stop: stop,
	}
	defer t.end()
	err := c.to.Store.Send(ctx, desc, c.plan.Source.Repository(), t)
	var stalled stalledError
	switch failed := t.failed(); {
	case err == nil && t.begun():
		c.sent.Add(1)
		c.bytes.Add(desc.Size)
		return nil
	case err == nil:
		c.mounted.Add(1)
		c.moved.Add(desc.Size)
		return nil
	case errors.As(context.Cause(ctx), &stalled):
		err = stalled
	case failed != nil:
		err = failed
	case mayBeCorrupt(err):
		if bad := c.compare(ctx, desc); bad != nil {
			err = bad
		}
	}
	c.moved.Add(-t.read.Load())
	return fmt.Errorf("send blob %s: %w", desc.Digest, err)
}

// mayBeCorrupt reports whether an upload was refused as it is where the content has
// another digest.
func mayBeCorrupt(err error) bool {
	if errors.Is(err, content.ErrMismatchedDigest) {
		return true
	}
	var response *errcode.ErrorResponse
	return errors.As(err, &response) && response.Method == http.MethodPut &&
		(response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusUnprocessableEntity)
}

// compare returns an error if the source has another content than the digest says.
func (c *copying) compare(ctx context.Context, desc ocispec.Descriptor) (err error) {
	blob, err := c.plan.Source.Blob(ctx, desc)
	if err != nil {
		return &sourceError{err}
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	verifier := desc.Digest.Verifier()
	if _, err := io.Copy(verifier, io.LimitReader(blob, desc.Size)); err != nil {
		return &sourceError{err}
	}
	if !verifier.Verified() {
		return &sourceError{corruptError{"its content has another digest"}}
	}
	return nil
}

// worthSendingAgain reports whether an upload that failed may succeed when it is begun
// again, with the blob from its source and a token that is good at that time. What
// refuses the blob, the credentials or the size refuses them again.
// Sendable says that the credentials may be good for it.
func worthSendingAgain(err error, sendable bool) bool {
	var response *errcode.ErrorResponse
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout(): // it took long enough
		return false
	case errors.As(err, new(corruptError)), errors.As(err, new(stalledError)), errors.Is(err, auth.ErrBasicCredentialNotFound), isAbsent(err):
		return false
	case errors.As(err, new(*fs.PathError)), errors.As(err, new(*os.LinkError)): // this machine's
		return false
	case !errors.As(err, &response):
		return !registry.IsRefused(err)
	}
	switch response.StatusCode {
	case http.StatusUnauthorized: // a token may end between two requests, and requests at once may share one that ends
		return response.Method == http.MethodPut || response.Method == http.MethodPost && sendable
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable: // the upload is not known any more
		return response.Method == http.MethodPut
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusInsufficientStorage:
		return false
	}
	return response.StatusCode >= 500
}

// sendManifests sends all manifests, level by level, and then looks whether they are
// listed.
func (c *copying) sendManifests(ctx context.Context) error {
	for rest := c.plan.manifests; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].level == rest[0].level {
			n++
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(cap(c.slots))
		for _, m := range rest[:n] {
			group.Go(func() error {
				if err := c.take(ctx); err != nil {
					return err
				}
				defer func() { <-c.slots }()
				return c.sendManifest(ctx, m)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return c.listAgain(ctx)
}

// sendManifest makes sure that a manifest is in the repository and, if it refers to
// another, that it is listed there. Nothing is read back that is not signed yet: some
// registries refuse that.
func (c *copying) sendManifest(ctx context.Context, m *plannedManifest) error {
	if m.subject != nil && (c.pusher.forces(c.to) || !c.isListed(ctx, m)) {
		return c.sendReferrer(ctx, m)
	}
	if exists, err := c.to.Store.Manifests().Exists(ctx, m.desc); err == nil && exists {
		return nil
	}
	content, err := c.content(ctx, m)
	if err != nil {
		return err
	}
	_, err = c.to.Store.PutManifest(ctx, m.desc, content, "")
	return wrapManifest(m, err)
}

// sendReferrer sends a manifest that refers to another, and has it listed.
func (c *copying) sendReferrer(ctx context.Context, m *plannedManifest) error {
	content, err := c.content(ctx, m)
	if err != nil {
		return err
	}
	subject := c.to.Beside(plain(*m.subject))
	ctx, cancel := finishing(ctx)
	defer cancel()
	lists, err := c.to.Store.PutManifest(ctx, m.desc, content, subject.Desc.Digest)
	if err == nil && (!lists || c.pusher.forces(subject)) {
		err = c.pusher.index(subject).add(ctx, m.entry, "")
	}
	if err == nil && lists {
		c.claimed.add(m)
	}
	return wrapManifest(m, err)
}

func wrapManifest(m *plannedManifest, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("send manifest %s: %w", m.desc.Digest, err)
}

// content reads a manifest that is about to be sent.
func (c *copying) content(ctx context.Context, m *plannedManifest) ([]byte, error) {
	content, err := c.plan.Source.Manifest(ctx, m.desc)
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", m.desc.Digest, &sourceError{err})
	}
	c.begun.Do(func() { c.since = time.Now() })
	return content, nil
}

// isListed reports whether the target lists a manifest among what refers to its
// subject. What can't be listed now is sent, and listed by that.
func (c *copying) isListed(ctx context.Context, m *plannedManifest) bool {
	key := c.to.Store.String() + "@" + m.subject.Digest.String()
	c.mu.Lock()
	list := c.lists[key]
	if list == nil {
		list = &referrerList{listed: map[digest.Digest]bool{}}
		c.lists[key] = list
	}
	c.mu.Unlock()
	list.once.Do(func() {
		_ = c.to.Store.Referrers(ctx, plain(*m.subject), "", func(page []ocispec.Descriptor) error {
			for _, listed := range page {
				list.listed[listed.Digest] = true
			}
			return nil
		})
	})
	return list.listed[m.desc.Digest]
}
