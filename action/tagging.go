// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// tagAll sets the tags of the artifacts of which all have passed, and all others of the
// same source. An error is of the run as a whole, and then no tag is set.
func (r *run) tagAll(ctx context.Context, artifacts []*artifact, err error) {
	for _, a := range artifacts {
		if a.root != nil {
			continue
		}
		for _, tag := range a.destination.tags {
			a.Tags = append(a.Tags, report.Tag{Reference: a.destination.at.String() + ":" + tag, Result: report.TagNotSet})
		}
		if err != nil && a.err == nil && len(a.Tags) > 0 {
			a.err = errors.New("no tag is set, because the run failed as a whole")
		}
	}
	r.freely(ctx, "confirming", artifacts, r.confirm)
	failed := map[string]*artifact{} // by source, and by what it is
	for _, a := range artifacts {
		if a.err != nil {
			failed[a.Resolved] = a
			failed[a.rootOr().destination.source] = a
		}
	}
	for _, a := range artifacts {
		if other := r.unpassed(a, failed); a.root == nil && other != nil && a.err == nil && len(a.Tags) > 0 {
			a.err = fmt.Errorf("no tag is set, because %s did not pass", other.Reference)
		}
	}
	r.freely(ctx, "tagging", artifacts, func(ctx context.Context, a *artifact) error {
		if a.root == nil {
			if err := r.tag(ctx, a); err != nil {
				return err
			}
		}
		return r.keep(ctx, a)
	})
}

// keep has an artifact that has passed stay, whether it has a tag or not.
func (r *run) keep(ctx context.Context, a *artifact) error {
	if err := a.target.Store.Keep(ctx, a.target.Desc); err != nil {
		return fmt.Errorf("list %s: %w", a.target, a.target.Store.Explain(ctx, true, err))
	}
	return nil
}

// unpassed returns what keeps an artifact from being tagged: one of the same source, or
// one that is in it and was named on its own, too.
func (r *run) unpassed(a *artifact, failed map[string]*artifact) *artifact {
	if other := failed[a.rootOr().destination.source]; other != nil || !r.inputs.recursive || a.source.plan == nil {
		return other
	}
	for _, p := range a.source.plan.Parts() {
		if other := failed[a.target.Beside(p.Desc).String()]; other != nil {
			return other
		}
	}
	return nil
}

// rootOr is the artifact that the user named: the one itself, or the one that it is in.
func (a *artifact) rootOr() *artifact {
	if a.root != nil {
		return a.root
	}
	return a
}

// tag sets an artifact's tags.
func (r *run) tag(ctx context.Context, a *artifact) error {
	var errs []error
	for i, tag := range a.destination.tags {
		tagged, err := r.copier.Tag(ctx, a.source.source, a.target, tag)
		said := &a.Tags[i]
		said.Before = tagged.Before.String()
		switch {
		case err != nil:
			errs = append(errs, err)
		case tagged.Set:
			said.Result = report.TagSet
		default:
			said.Result = report.TagUnchanged
		}
	}
	if !a.since.IsZero() && len(a.Tags) > 0 && errs == nil {
		a.Copied.Untagged = time.Since(a.since).Round(time.Millisecond).String()
	}
	return errors.Join(errs...)
}
