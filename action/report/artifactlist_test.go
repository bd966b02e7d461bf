// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestListOfArtifacts(t *testing.T) {
	soon, late := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	signed := &Signed{Digest: "sha256:new", Validity: Validity{ValidUntil: &soon, ValidUntilReason: "it expires"}}
	judged := &Verification{Verdict: Verified, Signatures: []Signature{
		{Digest: "sha256:new", Valid: true, Validity: Validity{ValidUntil: &soon, ValidUntilReason: "it expires"}},
		{Digest: "sha256:broken"},
		{Digest: "sha256:old", Valid: true, Validity: Validity{ValidUntil: &late, ValidUntilReason: "its certificate expires"}},
	}}
	for name, c := range map[string]struct {
		artifact Artifact
		want     string
	}{
		"not resolved": {
			Artifact{Reference: "r.example/app:v1", Error: "no such tag"},
			`{"reference":"r.example/app:v1","tags":[],"signatureDigests":[],"succeeded":false}`,
		},
		"signed alone": {
			Artifact{Reference: "r.example/app:v1", Resolved: "r.example/app@sha256:a", Digest: "sha256:a", Succeeded: true, Signed: signed},
			`{"reference":"r.example/app:v1","resolved":"r.example/app@sha256:a","digest":"sha256:a","tags":[],"signatureDigests":["sha256:new"],"succeeded":true,` +
				`"validUntil":"2026-03-01T00:00:00Z","validUntilReason":"it expires"}`,
		},
		"signed and verified": {
			Artifact{Reference: "a", Succeeded: true, Signed: signed, Verification: judged},
			`{"reference":"a","tags":[],"signatureDigests":["sha256:new","sha256:old"],"succeeded":true,"verdict":"verified",` +
				`"validUntil":"2027-03-01T00:00:00Z","validUntilReason":"its certificate expires"}`,
		},
		"signed before": {
			Artifact{Reference: "a", Succeeded: true, AlreadySigned: "sha256:old", Verification: judged},
			`{"reference":"a","tags":[],"signatureDigests":["sha256:old","sha256:new"],"succeeded":true,"verdict":"verified",` +
				`"validUntil":"2027-03-01T00:00:00Z","validUntilReason":"its certificate expires"}`,
		},
		"signed, and not verified": {
			Artifact{Reference: "a", Signed: &Signed{Digest: "sha256:new"}, Verification: &Verification{Verdict: Failed, Signatures: []Signature{{Digest: "sha256:new"}}}},
			`{"reference":"a","tags":[],"signatureDigests":["sha256:new"],"succeeded":false,"verdict":"failed"}`,
		},
		"skipped": {
			Artifact{Reference: "a", Succeeded: true, Verification: &Verification{Verdict: Skipped}},
			`{"reference":"a","tags":[],"signatureDigests":[],"succeeded":true,"verdict":"skipped"}`,
		},
		"tags": {
			Artifact{Reference: "a", Tags: []Tag{{Reference: "r.example/app:v1", Result: TagSet}, {Reference: "r.example/app:v2", Result: TagNotSet}, {Reference: "r.example/app:v3", Result: TagUnchanged}}},
			`{"reference":"a","tags":["r.example/app:v1","r.example/app:v3"],"signatureDigests":[],"succeeded":false}`,
		},
		"a file": {
			Artifact{Reference: "a", Succeeded: true, Attached: &Attached{File: "sbom.json", ArtifactType: "application/spdx+json"}},
			`{"reference":"a","attached":{"file":"sbom.json","artifactType":"application/spdx+json"},"tags":[],"signatureDigests":[],"succeeded":true}`,
		},
	} {
		var out, compact bytes.Buffer
		if err := (&Report{Artifacts: []Artifact{c.artifact}}).WriteList(&out); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&compact, out.Bytes()); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(compact.String()); got != "["+c.want+"]" {
			t.Errorf("%s:\n%s\nwant\n[%s]", name, got, c.want)
		}
	}
}

func TestListOfArtifactsFile(t *testing.T) {
	r := &Report{Artifacts: []Artifact{{Reference: "a"}, {Reference: "b"}}}
	path, err := r.WriteListFile(t.TempDir(), "program")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Reference string }
	if err := json.Unmarshal(content, &list); err != nil || len(list) != 2 || list[1].Reference != "b" {
		t.Errorf("%s: %+v, %v", path, list, err)
	}
	if path, err := r.WriteListFile("", "program"); path != "" || err != nil {
		t.Errorf("without a directory: %q, %v", path, err)
	}
	if path, err := r.WriteListFile(filepath.Join(t.TempDir(), "absent"), "program"); path != "" || err == nil {
		t.Errorf("in a directory that is not there: %q, %v", path, err)
	}
}

func TestVerifyCommandsAreOfWhatDidNotFail(t *testing.T) {
	good, failed, unsigned := *nightly(0, 0), *nightly(0, 0), *nightly(0, 0)
	failed.Error = "the tag can't be set"
	unsigned.Signed, unsigned.Verification = nil, nil
	r := &Report{Artifacts: []Artifact{failed, good, unsigned, good}}
	want := []string{"notation verify " + good.Resolved, "notation verify " + good.Resolved}
	if got := r.VerifyCommands(); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
