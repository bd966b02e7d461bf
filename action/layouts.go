// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"

	"github.com/notation-pkcs11/notation-pkcs11/action/layout"
	"github.com/notation-pkcs11/notation-pkcs11/action/publish"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// prepareLayouts opens the layouts that targets are in, or go to, and finds what is named
// there. What is wrong with them is a mistake in the inputs.
func (p *preparation) prepareLayouts(ctx context.Context) error {
	var faults []error
	for _, d := range p.inputs.destinations {
		faults = append(faults, p.openTarget(ctx, d.at, !d.isThere))
	}
	for _, target := range p.inputs.targets {
		rest, isLayout := registry.LayoutPath(target)
		if !isLayout || len(p.inputs.sources) > 0 {
			continue
		}
		ref, err := registry.ParseLayoutReference(rest)
		if err == nil {
			err = p.openTarget(ctx, registry.LayoutLocation(ref.Path), false)
		}
		if opened := p.targets[registry.LayoutLocation(ref.Path).Layout]; err == nil {
			_, err = opened.Find(ctx, ref)
		}
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("target_artifact_reference: %w", err)
	}
	return nil
}

func (p *preparation) openTarget(ctx context.Context, at registry.Location, create bool) error {
	if at.Layout == "" || p.targets[at.Layout] != nil {
		return nil
	}
	opened, err := layout.OpenStore(ctx, at.Layout, p.inputs.scopeAt(at), create)
	if err == nil {
		p.targets[at.Layout] = opened
	}
	return err
}

func (p *preparation) readLayout(ctx context.Context, text string) (plannedSource, error) {
	ref, err := registry.ParseLayoutReference(text)
	if err != nil {
		return plannedSource{}, err
	}
	opened := p.layouts[ref.Path]
	if opened == nil {
		if opened, err = layout.Open(ctx, ref.Path); err != nil {
			return plannedSource{}, err
		}
		p.layouts[ref.Path] = opened
	}
	root, err := opened.Find(ctx, ref)
	if err != nil {
		return plannedSource{}, err
	}
	source := layout.NewSource(opened, root)
	plan, err := publish.MakePlan(ctx, source, p.inputs.copied())
	return plannedSource{source: source, plan: plan}, err
}
