// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/action/publish"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// attachment is a file that is to be attached to artifacts, as a user said it.
type attachment struct{ path, artifactType string }

// attachments are PATH=ARTIFACT-TYPE. A path can have a = in it, a type can't.
func attachments(field func(*inputs) *[]attachment) func(*inputs, string) error {
	return eachLine(func(in *inputs, line string) error {
		i := strings.LastIndexByte(line, '=')
		if i <= 0 || !isMediaType(line[i+1:]) {
			return fmt.Errorf("%s is not PATH=ARTIFACT-TYPE, such as sbom.spdx.json=application/spdx+json", report.Quote(line))
		}
		*field(in) = append(*field(in), attachment{line[:i], line[i+1:]})
		return nil
	})
}

// isMediaType reports whether a text looks like a media type (RFC 6838 §4.2).
func isMediaType(text string) bool {
	kind, subtype, found := strings.Cut(text, "/")
	return found && kind != "" && subtype != "" && !strings.ContainsAny(text, " \t,;\"") && !strings.Contains(subtype, "/")
}

// prepareAttachments reads the files.
func (p *preparation) prepareAttachments(context.Context) error {
	var faults []error
	for _, a := range p.inputs.attach {
		opened, err := registry.OpenAttachment(a.path, a.artifactType)
		if err != nil {
			faults = append(faults, fmt.Errorf("attach: %w", err))
			continue
		}
		p.attachments = append(p.attachments, opened)
	}
	return errors.Join(faults...)
}

// attachAll attaches the files to the artifacts that the user named. What they become is
// an artifact as well, which is signed and verified like these.
func (r *run) attachAll(ctx context.Context, artifacts []*artifact) []*artifact {
	if len(r.attachments) == 0 {
		return artifacts
	}
	r.freely(ctx, "attaching", artifacts, func(ctx context.Context, a *artifact) error {
		if a.target.Parent != nil {
			return nil
		}
		for _, file := range r.attachments {
			made, err := r.attach(ctx, a, file)
			if err != nil {
				return fmt.Errorf("attach %s: %w", file.Path, err)
			}
			a.attached = append(a.attached, made)
		}
		return nil
	})
	var all []*artifact
	seen := map[string]bool{}
	for _, a := range artifacts {
		all = append(all, a)
		for _, made := range a.attached {
			if !seen[made.Resolved] {
				all = append(all, made)
			}
			seen[made.Resolved] = true
		}
	}
	return all
}

// attach makes a file a referrer of an artifact, unless it is one.
func (r *run) attach(ctx context.Context, a *artifact, file *registry.Attachment) (*artifact, error) {
	made := &artifact{root: a, Artifact: report.Artifact{Attached: &report.Attached{File: file.Path, ArtifactType: file.Type}}}
	// A list that can't be read is no reason not to attach: the same file is the same
	// referrer.
	found, err := file.Attached(ctx, registry.NewStoredSource(r.registries, a.target), a.target.Desc)
	if err == nil && found != nil {
		made.Attached.Existed = true
		made.resolved(a.target.Beside(*found))
		made.Reference = made.Resolved
		return made, nil
	}
	source, err := file.To(a.target.Desc)
	if err != nil {
		return nil, err
	}
	plan, err := publish.MakePlan(ctx, source, nil)
	if err != nil {
		return nil, err
	}
	made.resolved(a.target.Beside(source.Root()))
	made.Reference = made.Resolved
	made.source = plannedSource{source: source, plan: plan}
	_, err = r.copier.Copy(ctx, plan, made.target)
	return made, err
}
