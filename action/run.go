// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/opencontainers/go-digest"
)

// run is one run, with everything that it needs at hand.
type run struct {
	inputs     inputs
	registries *registries
	signer     *signer   // nil in modes that don't sign
	pusher     *pusher   // likewise
	verifier   *verifier // nil in modes that don't verify
	progress   func(stage string, done, all int)
}

// artifact is one artifact on its way through a run.
type artifact struct {
	text     string // as the user wrote it
	target   target
	resolved bool
	err      error // the first thing that failed; nothing more is done then
	warnings []string

	signed        *signed       // listed, as far as is known
	alreadySigned digest.Digest // of the signature manifest; empty: it was not
	verification  *verification
	inspection    *verification
}

// signed is a signature that was made and pushed.
type signed struct {
	pushed      pushed
	annotations map[string]string
	claims      claims
}

func (a *artifact) warn(format string, args ...any) {
	a.warnings = append(a.warnings, fmt.Sprintf(format, args...))
}

// do takes all artifacts through the stages of the mode. One stage ends before
// the next begins, so what is verified is what all of the run left behind. The
// error is what went wrong with the run as a whole.
func (r *run) do(ctx context.Context) ([]*artifact, error) {
	ctx, end := withGrace(ctx)
	defer end()
	artifacts := r.resolve(ctx)
	var err error
	if r.inputs.mode.signs() {
		r.stage(ctx, "signing", artifacts, r.sign)
		err = r.settle(ctx, artifacts)
	}
	if r.inputs.mode.verifies() {
		r.stage(ctx, "verifying", artifacts, r.verify)
	}
	if r.inputs.mode == modeInspect {
		r.stage(ctx, "inspecting", artifacts, r.inspect)
	}
	return artifacts, err
}

// stage does something with all artifacts that nothing is wrong with, as many at
// once as the inputs say.
func (r *run) stage(ctx context.Context, name string, artifacts []*artifact, do func(context.Context, *artifact) error) {
	var all sync.WaitGroup
	var done atomic.Int64
	slots := make(chan struct{}, r.inputs.concurrency)
	for _, a := range artifacts {
		if a.err != nil {
			done.Add(1)
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			a.err = r.within(ctx, name, func(ctx context.Context) error { return do(ctx, a) })
			r.progress(name, int(done.Add(1)), len(artifacts))
		})
	}
	all.Wait()
}

// within does something for one artifact, within the time that it may take.
// Whatever happens to one must not happen to the others, so panics end here.
func (r *run) within(ctx context.Context, what string, do func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: unexpected: %v", what, p)
		}
	}()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: interrupted: %w", what, context.Cause(ctx))
	}
	limited, cancel := context.WithTimeout(ctx, r.inputs.timeout)
	defer cancel()
	err = do(limited)
	switch {
	case err == nil || limited.Err() == nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: interrupted: %w", what, err)
	default:
		return fmt.Errorf("%s took longer than the timeout of %v; raise it, or run again: %w", what, r.inputs.timeout, err)
	}
}

// resolve finds out which manifests the references mean, and with recursive
// which are in them. Each manifest is there once.
func (r *run) resolve(ctx context.Context) []*artifact {
	roots := make([]*artifact, len(r.inputs.targets))
	below := make([][]*artifact, len(roots))
	for i, text := range r.inputs.targets {
		roots[i] = &artifact{text: text}
	}
	index := map[*artifact]int{}
	for i, root := range roots {
		index[root] = i
	}
	r.stage(ctx, "resolving", roots, func(ctx context.Context, root *artifact) (err error) {
		if root.target, err = r.registries.resolve(ctx, root.text); err != nil {
			return err
		}
		root.resolved = true
		if root.target.tag != "" {
			root.warn("the tag %s was resolved once, to %s; a tag can be moved at any time, so it is better to name the digest",
				root.target.tag, root.target.ref)
		}
		if !r.inputs.recursive {
			return nil
		}
		children, err := r.registries.children(ctx, root.target)
		for _, child := range children {
			below[index[root]] = append(below[index[root]], &artifact{text: child.text, target: child, resolved: true})
		}
		return err
	})
	return distinct(roots, below)
}

// distinct puts what is below each root behind it, and keeps the first of those
// that are the same manifest in the same repository.
func distinct(roots []*artifact, below [][]*artifact) []*artifact {
	seen := map[string]*artifact{}
	var list []*artifact
	add := func(a *artifact) {
		name := a.target.ref.String()
		if first := seen[name]; a.resolved && first != nil {
			if a.target.parent == nil {
				first.warn("%s is the same artifact, and was not treated a second time", a.text)
			}
			return
		}
		if a.resolved {
			seen[name] = a
		}
		list = append(list, a)
	}
	for i, root := range roots {
		add(root)
		for _, child := range below[i] {
			add(child)
		}
	}
	return list
}

// sign signs an artifact and pushes the signature.
func (r *run) sign(ctx context.Context, a *artifact) error {
	if r.inputs.skipSigned {
		manifest, found, err := r.signer.signedBefore(ctx, r.registries, a.target, r.inputs.maxSignatures)
		if err != nil {
			return fmt.Errorf("look for a signature by this key: %w", err)
		}
		if found {
			a.alreadySigned = manifest.Digest
			return nil
		}
	}
	made, err := r.signer.sign(ctx, a.target.desc)
	if err != nil {
		return fmt.Errorf("sign %s: %w", a.target, err)
	}
	pushed, err := r.pusher.push(ctx, a.target, made.envelope, r.signer.envelopeType, made.annotations)
	a.warnings = append(a.warnings, pushed.warnings...)
	if err != nil {
		return err
	}
	a.signed = &signed{
		pushed:      pushed,
		annotations: made.annotations,
		claims:      readClaims(r.signer.envelopeType, made.envelope, &signature.EnvelopeContent{SignerInfo: *made.info}),
	}
	return nil
}

// settle has the last look at what was pushed. Who is not listed for good has
// failed after all. The timeout is not for this: a look that comes too soon says
// nothing, and each index has a limit of its own.
func (r *run) settle(ctx context.Context, artifacts []*artifact) error {
	var others []error
	for _, err := range r.pusher.settle(ctx) {
		var unlisted *unlistedError
		if !errors.As(err, &unlisted) {
			others = append(others, err)
			continue
		}
		i := slices.IndexFunc(artifacts, func(a *artifact) bool {
			return a.resolved && a.target.String() == unlisted.artifact.String()
		})
		if i < 0 || artifacts[i].err != nil {
			others = append(others, err)
			continue
		}
		a := artifacts[i]
		a.err = err
		// It may be that of an earlier run alone that is lost.
		if a.signed != nil && slices.Contains(unlisted.signatures, a.signed.pushed.manifest.Digest) {
			a.signed = nil
		}
	}
	return errors.Join(others...)
}

// verify has the policy judge an artifact.
func (r *run) verify(ctx context.Context, a *artifact) error {
	v := r.verifier.verify(ctx, a.target)
	a.verification = &v
	if !v.passed() {
		return v.err
	}
	if a.signed == nil || v.verdict == verdictSkipped {
		return nil
	}
	ours := slices.IndexFunc(v.signatures, func(s signatureVerification) bool {
		return s.manifest.Digest == a.signed.pushed.manifest.Digest
	})
	switch {
	case ours < 0 && len(v.signatures) < r.inputs.maxSignatures:
		unlisted := &unlistedError{a.target, []digest.Digest{a.signed.pushed.manifest.Digest}, errors.New("the registry took it and doesn't list it")}
		a.signed = nil
		return unlisted
	case ours < 0:
		a.warn("the signature that was added was not looked at: the artifact has others, and max_signatures is %d", r.inputs.maxSignatures)
	case !v.signatures[ours].valid:
		a.warn("the artifact is verified because of another signature; the one that was added does not pass the trust policy: %v", v.signatures[ours].err)
	}
	return nil
}

// inspect looks at the signatures of an artifact. That one of them is bad is
// for the reader to see, and no failure.
func (r *run) inspect(ctx context.Context, a *artifact) error {
	v := inspect(ctx, r.registries, a.target, r.inputs.maxSignatures)
	a.inspection = &v
	return v.err
}
