// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"
	"github.com/notation-pkcs11/notation-pkcs11/action/publish"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/action/sign"
	"github.com/notation-pkcs11/notation-pkcs11/action/verify"
)

// run is one run, with everything that it needs at hand.
type run struct {
	inputs     inputs
	registries *registry.Client
	signer     *sign.Signer // nil in modes that don't sign
	pin        pinSource    // of the signer's key, where it is known
	pusher     signaturePusher
	strict     *verify.Strict   // nil likewise
	trust      *verify.Trust    // nil in modes that don't verify
	verifier   *verify.Verifier // likewise
	progress   func(stage string, done, all int)

	attachments  []*registry.Attachment
	copier       *publish.Copier
	sources      map[string]plannedSource // those that are layouts
	sourceClient func(host string) *registry.Client
}

// signaturePusher stores signatures so that they are found: package publish.
type signaturePusher interface {
	// Listable says, before a signature is made, whether it could be found.
	Listable(ctx context.Context, t registry.Target) error
	Push(ctx context.Context, t registry.Target, envelope []byte, mediaType string, annotations map[string]string) (publish.Pushed, error)
	// Settle has the last look. It must be called when all are pushed, with a
	// context that ends with the run.
	Settle(ctx context.Context) []error
}

// artifact is one artifact on its way through a run, with what the run found out
// about it: each stage fills in what the report has of it.
type artifact struct {
	report.Artifact
	target registry.Target
	err    error // the first thing that failed; nothing more is done then
	// renew is set if a warning says already that the certificate must be renewed.
	renew bool

	below    []*artifact // what is in it, as far as that is treated on its own
	attached []*artifact // what the files became that were attached to it

	// Of a run with sources, tags or files to attach:
	destination *destination // nil: it is in another artifact, or attached to it
	root        *artifact    // which that is; nil: none
	source      plannedSource
	since       time.Time // when its first manifest was sent
	signature   ocispec.Descriptor
	pushAgain   func(context.Context) error // the signature
}

// resolved takes over what was found out about the manifest.
func (a *artifact) resolved(t registry.Target) {
	a.target = t
	a.Resolved, a.Digest = t.String(), t.Desc.Digest.String()
	a.MediaType, a.Size = t.Desc.MediaType, t.Desc.Size
	if scope := t.Store.Scope(); scope != t.Store.Repository() {
		a.Scope = scope.String()
	}
	if t.Parent != nil {
		a.Index = t.Parent.Desc.Digest.String()
	}
}

func (a *artifact) warn(format string, args ...any) {
	a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...))
}

// report is the artifact when the run is over.
func (a *artifact) report() report.Artifact {
	r := a.Artifact
	r.Succeeded, r.Error = a.err == nil, report.Message(a.err)
	return r
}

// do takes all artifacts through the stages of the mode. One stage ends before
// the next begins, so what is verified is what all of the run left behind. The
// error is what went wrong with the run as a whole.
func (r *run) do(ctx context.Context) ([]*artifact, error) {
	ctx, end := publish.WithGrace(ctx)
	defer end()
	artifacts := r.resolve(ctx)
	if r.inputs.mode == modePromote {
		r.stage(ctx, "verifying at the source", artifacts, r.verifySource)
	}
	if r.inputs.destinations != nil {
		r.copyAll(ctx, artifacts)
	}
	artifacts = r.attachAll(ctx, artifacts)
	var err error
	if r.inputs.mode.signs() {
		r.stage(ctx, "signing", artifacts, r.sign)
	}
	if r.inputs.mode.writes() {
		err = r.settle(ctx, artifacts)
	}
	if r.inputs.mode.verifies() {
		r.stage(ctx, "verifying", artifacts, r.verify)
		if len(r.inputs.requiredReferrers) > 0 {
			r.stage(ctx, "verifying referrers", artifacts, r.requireReferrers)
		}
	}
	if r.inputs.mode == modeInspect {
		r.stage(ctx, "inspecting", artifacts, r.inspect)
	}
	if r.inputs.destinations != nil {
		r.tagAll(ctx, artifacts, err)
	}
	return artifacts, err
}

// stage does something with all artifacts that nothing is wrong with, as many at
// once as the inputs say, each within the time that it may take.
func (r *run) stage(ctx context.Context, name string, artifacts []*artifact, do func(context.Context, *artifact) error) {
	r.freely(ctx, name, artifacts, func(ctx context.Context, a *artifact) error {
		return r.within(ctx, name, func(ctx context.Context) error { return do(ctx, a) })
	})
}

// freely is stage for what takes as long as it takes.
func (r *run) freely(ctx context.Context, name string, artifacts []*artifact, do func(context.Context, *artifact) error) {
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
			a.err = guarded(ctx, name, func() error { return do(ctx, a) })
			r.progress(name, int(done.Add(1)), len(artifacts))
		})
	}
	all.Wait()
}

// guarded does something for one artifact. Whatever happens to one must not happen to
// the others, so panics end here.
func guarded(ctx context.Context, what string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: unexpected: %v", what, p)
		}
	}()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: interrupted: %w", what, context.Cause(ctx))
	}
	return do()
}

// within does something for one artifact, within the time that it may take.
func (r *run) within(ctx context.Context, what string, do func(context.Context) error) (err error) {
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
	if r.inputs.destinations != nil {
		return r.resolveDestinations(ctx)
	}
	roots := make([]*artifact, len(r.inputs.targets))
	for i, text := range r.inputs.targets {
		roots[i] = &artifact{Artifact: report.Artifact{Reference: text}}
	}
	r.stage(ctx, "resolving", roots, func(ctx context.Context, root *artifact) error {
		t, err := r.registries.Resolve(ctx, root.Reference)
		if err != nil {
			return err
		}
		root.resolved(t)
		if root.target.Tag != "" {
			root.warn("the tag %s was resolved once, to %s; a tag can be moved at any time, so it is better to name the digest",
				root.target.Tag, root.target)
		}
		if !r.inputs.recursive {
			return nil
		}
		children, err := root.target.Children(ctx)
		root.contains(children)
		return err
	})
	return distinct(roots)
}

// distinct puts what is below each root behind it, and keeps the first of those
// that are the same manifest in the same repository.
func distinct(roots []*artifact) []*artifact {
	seen := map[string]*artifact{}
	var list []*artifact
	add := func(a *artifact) {
		if first := seen[a.Resolved]; first != nil {
			if a.destination != nil && first.destination != nil {
				first.destination.addTags(a.destination.tags...)
			}
			if a.target.Parent == nil {
				first.warn("%s is the same artifact and was processed once", a.Reference)
			}
			return
		}
		if a.Resolved != "" {
			seen[a.Resolved] = a
		}
		list = append(list, a)
	}
	for _, root := range roots {
		add(root)
		for _, child := range root.below {
			add(child)
		}
	}
	return list
}

// sign signs an artifact and pushes the signature.
func (r *run) sign(ctx context.Context, a *artifact) error {
	if err := r.pusher.Listable(ctx, a.target); err != nil {
		return err
	}
	if r.inputs.skipSigned {
		before, unread, err := r.signer.SignedBefore(ctx, r.registries, a.target, r.inputs.maxSignatures)
		if err != nil {
			return fmt.Errorf("look for a signature by this key: %w", err)
		}
		if before != nil {
			r.signedBefore(a, before)
			return nil
		}
		if unread > 0 {
			a.warn("it is signed although there may be a signature by this key: max_signatures is %d, and %d more signatures were not looked at", r.inputs.maxSignatures, unread)
		}
	}
	made, err := r.signer.Sign(ctx, a.target.Desc)
	if err != nil {
		if r.signer.Denied() {
			err = r.pin.explain(err)
		}
		return fmt.Errorf("sign %s: %w", a.target, err)
	}
	if r.trust != nil {
		if err := r.trust.CheckSigner(a.target.Store.Scope(), made.Info.CertificateChain[0]); err != nil {
			return fmt.Errorf("%s was not signed: %w", a.target, err)
		}
	}
	pushed, err := r.pusher.Push(ctx, a.target, made.Envelope, r.signer.EnvelopeType, made.Annotations)
	a.Warnings = append(a.Warnings, pushed.Warnings...)
	if err != nil {
		return err
	}
	if r.inputs.destinations == nil { // else that is for the end
		if err := r.keep(ctx, a); err != nil {
			return err
		}
	} else {
		a.signature = pushed.Manifest
		a.pushAgain = func(ctx context.Context) error {
			_, err := r.pusher.Push(ctx, a.target, made.Envelope, r.signer.EnvelopeType, made.Annotations)
			return err
		}
	}
	claims := envelope.ReadClaims(r.signer.EnvelopeType, made.Envelope, &signature.EnvelopeContent{SignerInfo: *made.Info})
	a.Signed = &report.Signed{
		Digest:       pushed.Manifest.Digest.String(),
		Size:         pushed.Manifest.Size,
		Format:       claims.Format,
		Envelope:     pushed.Envelope.Digest.String(),
		EnvelopeSize: pushed.Envelope.Size,
		IndexTag:     pushed.IndexTag,
		Annotations:  made.Annotations,
		Certificates: claims.Certificates,
		Timestamp:    claims.Timestamp,
	}
	if r.inputs.mode == modeSign { // else the policy has its own word
		a.Signed.Validity = r.strict.Validity(ctx, a.target, made.Info, made.Envelope, r.signer.EnvelopeType)
		r.warnOfEnd(a, a.Signed.Validity)
	}
	return nil
}

// signedBefore notes the signature because of which none is made.
func (r *run) signedBefore(a *artifact, before *sign.Before) {
	a.AlreadySigned, a.signature = before.Manifest.Digest.String(), before.Manifest
	switch {
	case before.MustRenew != "":
		a.renew = true
		a.warn("%s", before.MustRenew)
	case r.inputs.mode == modeSign:
		r.warnOfEnd(a, before.Validity)
	}
}

// warnOfEnd warns of an artifact that stops verifying soon.
func (r *run) warnOfEnd(a *artifact, last report.Validity) {
	if a.renew || last.ValidUntil == nil || time.Until(*last.ValidUntil) >= r.inputs.warnWithin {
		return
	}
	a.warn("verifies until %s and not longer: %s; sign it again before that, with a certificate and an expiry that end later",
		last.ValidUntil.Format(time.RFC3339), last.ValidUntilReason)
}

// settle has the last look at what was pushed. A signature that is not listed for
// good has failed after all. The timeout is not for this: a look that comes too soon says
// nothing, and each index has a limit of its own.
func (r *run) settle(ctx context.Context, artifacts []*artifact) error {
	var others []error
	for _, err := range r.pusher.Settle(ctx) {
		var unlisted *publish.UnlistedError
		if !errors.As(err, &unlisted) {
			others = append(others, err)
			continue
		}
		i := slices.IndexFunc(artifacts, func(a *artifact) bool {
			return a.Resolved == unlisted.Artifact.String() || a.has(unlisted.Artifact)
		})
		if i < 0 || artifacts[i].err != nil {
			others = append(others, err)
			continue
		}
		a := artifacts[i]
		a.err = err
		// It may be that of an earlier run alone that is lost.
		if a.Signed != nil && slices.Contains(unlisted.Signatures, digest.Digest(a.Signed.Digest)) {
			a.Signed = nil
		}
	}
	return errors.Join(others...)
}

// verify has the policy judge an artifact.
func (r *run) verify(ctx context.Context, a *artifact) error {
	var added []digest.Digest
	if a.Signed != nil {
		added = append(added, digest.Digest(a.Signed.Digest))
	}
	v, err := r.verifier.Verify(ctx, a.target.Afresh(), added...)
	a.Verification = &v
	if last := v.Lasting(); last != nil && err == nil {
		r.warnOfEnd(a, last.Validity)
	}
	// A policy that skips an artifact looks at no signature, and so not for ours.
	if err != nil || a.Signed == nil || v.Verdict == report.Skipped {
		return err
	}
	ours := slices.IndexFunc(v.Signatures, func(s report.Signature) bool { return s.Digest == a.Signed.Digest })
	switch {
	case ours < 0:
		unlisted := &publish.UnlistedError{Artifact: a.target, Signatures: []digest.Digest{digest.Digest(a.Signed.Digest)}, Err: errors.New("the registry took it and doesn't list it")}
		a.Signed = nil
		return unlisted
	case ours >= r.inputs.maxSignatures && v.Signatures[ours].Valid:
		a.warn("the signature that was added is listed behind %d others or more, where max_signatures keeps verifiers from looking: raise it, or delete signatures that are not needed", r.inputs.maxSignatures)
	case !v.Signatures[ours].Valid:
		a.warn("the artifact is verified because of another signature; the one that was added does not pass the trust policy: %s", v.Signatures[ours].Error)
	}
	return nil
}

// inspect looks at the signatures of an artifact. That one of them is bad is
// for the reader to see, and no failure.
func (r *run) inspect(ctx context.Context, a *artifact) error {
	i, err := verify.Inspect(ctx, r.registries, a.target, r.inputs.maxSignatures)
	a.Inspection = &i
	return err
}
