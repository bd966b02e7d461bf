// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/publish"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// sourceLogin is how a user says who reads the sources.
const sourceLogin = "source_registry_username and source_registry_password"

// plannedSource is a source that was read: where an artifact comes from, and what of it
// is copied. An artifact that is tagged where it is has no plan.
type plannedSource struct {
	source registry.Source
	plan   *publish.Plan
	from   registry.Target // that a reference was resolved to
}

// prepareSources opens and reads the sources that are layouts. What is wrong with them
// is a mistake in the inputs, as far as it shows without reading the blobs.
func (p *preparation) prepareSources(ctx context.Context) error {
	var faults []error
	for _, text := range p.inputs.sources {
		rest, isLayout := registry.LayoutPath(text)
		if _, known := p.sources[text]; known || !isLayout {
			continue
		}
		source, err := p.readLayout(ctx, rest)
		if err != nil {
			faults = append(faults, fmt.Errorf("source: %w", err))
			continue
		}
		p.sources[text] = source
	}
	for _, d := range p.inputs.destinations {
		if s, known := p.sources[d.source]; known {
			if err := d.check(s.source.Root()); err != nil {
				faults = append(faults, err)
			}
		}
	}
	return errors.Join(faults...)
}

// copied says which referrers come along.
func (in *inputs) copied() func(artifactType string) bool {
	if in.mode == modePromote {
		return in.copyReferrers.copies(registry.ArtifactTypeSignature)
	}
	return in.copyReferrers.copies()
}

// check returns an error if the artifact is not the one that the destination names.
func (d *destination) check(artifact ocispec.Descriptor) error {
	if d.digest != "" && d.digest != artifact.Digest {
		return fmt.Errorf("%s must be that artifact, and %s is %s", d.text, d.source, artifact.Digest)
	}
	return nil
}

// sourceClient is the client of a source in a registry. The password of the targets'
// registry goes to no other.
func (p *preparation) sourceClient(targets *registry.Client) func(host string) *registry.Client {
	options := p.registryOptions()
	options.Username, options.Password = p.inputs.sourceUsername, p.inputs.sourcePassword
	options.LoginInputs = sourceLogin
	sources := registry.New(options)
	return func(host string) *registry.Client {
		isTargets := func(d destination) bool { return d.at.Repository.Registry == host }
		if p.inputs.sourceUsername == "" && slices.ContainsFunc(p.inputs.destinations, isTargets) {
			return targets
		}
		return sources
	}
}

// readers returns a function for each source that reads it, once.
func (r *run) readers(ctx context.Context, layouts map[string]plannedSource) map[string]func() (plannedSource, error) {
	readers := map[string]func() (plannedSource, error){}
	for _, d := range r.inputs.destinations {
		if readers[d.source] == nil {
			needsPlan := !d.isThere || len(r.inputs.destinations) > 1
			readers[d.source] = sync.OnceValues(func() (plannedSource, error) {
				if layout, isLayout := layouts[d.source]; isLayout {
					return layout, nil
				}
				return r.readSource(ctx, d, needsPlan)
			})
		}
	}
	return readers
}

// readSource resolves a source that is in a registry, or a target that is the source of
// others, and plans to copy it.
func (r *run) readSource(ctx context.Context, d destination, needsPlan bool) (s plannedSource, err error) {
	reference, client := d.source, r.registries
	if !d.isThere {
		reference = sourceReference(d.source)
		ref, err := orasregistry.ParseReference(reference)
		if err != nil {
			return s, err
		}
		client = r.sourceClient(ref.Registry)
	}
	if s.from, err = client.Resolve(ctx, reference); err != nil {
		return s, err
	}
	s.source = registry.NewStoredSource(client, s.from)
	if needsPlan {
		s.plan, err = publish.MakePlan(ctx, s.source, r.inputs.copied())
	}
	return s, err
}

// resolveDestinations finds out which artifacts go where. Nothing is read at the
// targets.
func (r *run) resolveDestinations(ctx context.Context) []*artifact {
	readers := r.readers(ctx, r.sources)
	roots := make([]*artifact, len(r.inputs.destinations))
	for i := range r.inputs.destinations {
		d := &r.inputs.destinations[i]
		roots[i] = &artifact{Artifact: report.Artifact{Reference: d.text}, destination: d}
	}
	r.stage(ctx, "reading sources", roots, func(ctx context.Context, root *artifact) error {
		d := root.destination
		s, err := readers[d.source]()
		if err == nil {
			err = d.check(s.source.Root())
		}
		if err != nil {
			return err
		}
		root.source = s
		if d.isThere {
			root.resolved(s.from)
			if !r.inputs.recursive {
				return nil
			}
			children, err := root.target.Children(ctx)
			root.contains(children)
			return err
		}
		t, err := r.registries.At(d.at, s.source.Root())
		if err != nil {
			return err
		}
		t.Text = d.text
		root.resolved(t)
		root.Source = s.source.String()
		root.Warnings = append(root.Warnings, s.plan.Warnings...)
		if r.inputs.recursive {
			root.contains(root.parts())
		}
		return nil
	})
	return distinctDestinations(roots)
}

// distinctDestinations is distinct, where what was named is not taken for a part of
// something else: it has tags.
func distinctDestinations(roots []*artifact) []*artifact {
	named := map[string]bool{}
	for _, root := range roots {
		named[root.Resolved] = true
	}
	for _, root := range roots {
		root.below = slices.DeleteFunc(root.below, func(a *artifact) bool { return named[a.Resolved] })
	}
	return distinct(roots)
}

// parts are the manifests in an artifact that is going to be at a target.
func (a *artifact) parts() []registry.Target {
	byDigest := map[string]*registry.Target{a.Digest: &a.target}
	var list []registry.Target
	for _, part := range a.source.plan.Parts() {
		if part.Parent == "" {
			continue
		}
		t := a.target.Beside(part.Desc)
		t.Parent = byDigest[part.Parent.String()]
		byDigest[t.Desc.Digest.String()] = &t
		list = append(list, t)
	}
	return list
}

// has reports whether a manifest of a target was copied with the artifact.
func (a *artifact) has(t registry.Target) bool {
	return a.source.plan != nil && a.target.Store == t.Store && a.source.plan.Has(t.Desc.Digest)
}

// contains takes what is in an index for artifacts below it.
func (a *artifact) contains(children []registry.Target) {
	for _, t := range children {
		child := &artifact{Artifact: report.Artifact{Reference: t.Text}, root: a, source: a.source}
		child.resolved(t)
		a.below = append(a.below, child)
	}
}

// verifySource has the policy judge an artifact where it comes from, as it judges it at
// the target.
func (r *run) verifySource(ctx context.Context, a *artifact) error {
	v, err := r.verifier.From(a.source.source).Verify(ctx, a.target)
	a.AtSource = &v
	if err != nil {
		return fmt.Errorf("at the source %s: %w", a.source.source, err)
	}
	return nil
}

// copyAll copies all artifacts that nothing is wrong with. It takes as long as it
// takes: the timeout is not for this.
func (r *run) copyAll(ctx context.Context, artifacts []*artifact) {
	for _, a := range artifacts { // what is in an index goes with it
		if a.root != nil && a.err != nil && a.root.err == nil {
			a.root.err = fmt.Errorf("%s, which is in it, did not pass: %w", a.target, a.err)
		}
	}
	stop := r.watch()
	r.freely(ctx, "copying", artifacts, func(ctx context.Context, a *artifact) error {
		if a.root != nil || a.destination.isThere {
			return nil
		}
		copied, err := r.copier.Copy(ctx, a.source.plan, a.target)
		a.since = copied.Since
		a.Copied = &report.Copied{
			Manifests: copied.Manifests, Referrers: a.source.plan.Referrers(),
			Blobs: copied.Blobs, Sent: copied.Sent, Mounted: copied.Mounted, Bytes: copied.Bytes,
		}
		return err
	})
	stop()
	inherit(artifacts)
}

// inherit has what is in an index fail with it.
func inherit(artifacts []*artifact) {
	for _, a := range artifacts {
		if a.root != nil && a.root.err != nil && a.err == nil {
			a.err = fmt.Errorf("the artifact that it is in failed: %w", a.root.err)
		}
	}
}

// watch says from time to time how many bytes are copied.
func (r *run) watch() (stop func()) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				moved, planned := r.copier.Progress()
				r.progress("copying, MiB", int(moved>>20), int(planned>>20))
			}
		}
	})
	return func() { close(done); watching.Wait() }
}

// confirm makes sure that all that was copied and signed is still there: registries may
// delete what has no tag.
func (r *run) confirm(ctx context.Context, a *artifact) error {
	if (a.root == nil && !a.destination.isThere || a.Attached != nil) && a.source.plan != nil {
		again, err := r.copier.Confirm(ctx, a.source.plan, a.target)
		for _, gone := range again {
			a.warn("the registry deleted %s, which had no tag yet, and it was sent again", gone)
		}
		if err != nil {
			return err
		}
	}
	if a.signature.Digest == "" {
		return nil
	}
	for try := 0; ; try++ {
		gone, err := r.copier.Gone(ctx, a.target, []ocispec.Descriptor{a.signature})
		if err != nil || len(gone) == 0 {
			return err
		}
		if try > 0 || a.pushAgain == nil {
			return fmt.Errorf("the signature %s of %s is not in the registry any more; run again, and have the registry keep untagged manifests for longer", a.signature.Digest, a.target)
		}
		a.warn("the registry deleted the signature %s, and it was pushed again", a.signature.Digest)
		if err := a.pushAgain(ctx); err != nil {
			return err
		}
	}
}
