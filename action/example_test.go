// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// exampleReport is the one in docs/report.md: of two artifacts, one is signed
// and verified, and the workflow may not push to the other's repository.
func exampleReport() *report.Report {
	at := func(text string) time.Time {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			panic(err)
		}
		return t
	}
	signingTime := at("2026-03-14T09:26:53Z")
	chain := []report.Certificate{
		{
			Subject: "CN=Release signing,O=Example,ST=WA,C=US", Issuer: "CN=Example Root,O=Example,ST=WA,C=US", Serial: "5f2a",
			Thumbprint: strings.Repeat("1f", 32), NotBefore: at("2026-01-01T00:00:00Z"), NotAfter: at("2027-01-01T00:00:00Z"),
		},
		{
			Subject: "CN=Example Root,O=Example,ST=WA,C=US", Issuer: "CN=Example Root,O=Example,ST=WA,C=US", Serial: "1",
			Thumbprint: strings.Repeat("2e", 32), NotBefore: at("2020-01-01T00:00:00Z"), NotAfter: at("2040-01-01T00:00:00Z"),
		},
	}
	statement := &report.Statement{
		Name: "inputs", Scope: "*", Reason: `no statement names the repository, and this one's scope "*" covers all others`, Level: "strict",
		Actions: map[string]string{"integrity": "enforce", "authenticity": "enforce", "authenticTimestamp": "enforce", "expiry": "enforce", "revocation": "enforce"},
		Stores:  []string{"ca:trusted_certificates"}, Identities: []string{"x509.subject: C=US, ST=WA, O=Example"},
	}
	check := func(name, reason string) report.Check {
		return report.Check{Name: name, Result: report.CheckPassed, Action: "enforce", Reason: reason}
	}
	image, signature := "sha256:"+strings.Repeat("a1", 32), "sha256:"+strings.Repeat("b2", 32)
	tool := "sha256:" + strings.Repeat("d4", 32)
	return &report.Report{
		FormatVersion: report.FormatVersion,
		Tool:          report.Tool{Name: Name, Version: "1.0.0"},
		Mode:          string(modeSignAndVerify),
		Started:       signingTime.Add(-time.Second),
		Finished:      signingTime.Add(time.Second),
		Artifacts: []report.Artifact{
			{
				Reference: "registry.example/app@" + image, Resolved: "registry.example/app@" + image, Digest: image,
				MediaType: "application/vnd.oci.image.manifest.v1+json", Size: 1234, Succeeded: true,
				Signed: &report.Signed{
					Digest: signature, Size: 723, Format: "cose", Envelope: "sha256:" + strings.Repeat("c3", 32), EnvelopeSize: 2021,
					IndexTag: "sha256-" + strings.Repeat("a1", 32),
					Annotations: map[string]string{
						"org.opencontainers.image.created":         "2026-03-14T09:26:53Z",
						"io.cncf.notary.x509chain.thumbprint#S256": `["` + chain[0].Thumbprint + `","` + chain[1].Thumbprint + `"]`,
					},
					Certificates: chain,
				},
				Verification: &report.Verification{
					Verdict: report.Verified, Statement: statement,
					Signatures: []report.Signature{{
						Digest: signature, Valid: true,
						Validity: report.Validity{ValidUntil: &chain[0].NotAfter, ValidUntilReason: `the certificate of "CN=Release signing,O=Example,ST=WA,C=US" expires`},
						Claims: report.Claims{
							Format: "cose", Algorithm: "ECDSA-SHA-256", Scheme: "notary.x509", Agent: "notation-go/1.3.2 pkcs11/1.0.0",
							SigningTime: &signingTime, UserMetadata: map[string]string{"commit": "4f1c9e2"}, Certificates: chain,
						},
						TrustedBy: &report.Anchor{Store: "ca:trusted_certificates", Certificate: chain[1]},
						Checks: []report.Check{
							check("integrity", `the ECDSA-SHA-256 signature was made with the key of "CN=Release signing,O=Example,ST=WA,C=US"`),
							check("authenticity", `"CN=Example Root,O=Example,ST=WA,C=US" is in trust store ca:trusted_certificates, and "CN=Release signing,O=Example,ST=WA,C=US" is a trusted identity`),
							check("expiry", "the signature does not expire"),
							check("authenticTimestamp", "the certificates are valid now, until Fri, 01 Jan 2027 00:00:00 UTC; timestamps are not checked, because the statement names no trust store of type tsa"),
							check("revocation", "no certificate of the chain names an OCSP responder or a CRL, so revocation can't be checked; the chain counts as not revoked"),
							check("descriptor", "it is the signature of "+image),
							{Name: "userMetadata", Result: report.CheckSkipped, Action: "skip", Reason: "user_metadata requires none"},
						},
					}},
				},
			},
			{
				Reference: "registry.example/tool:v2", Resolved: "registry.example/tool@" + tool, Digest: tool,
				MediaType: "application/vnd.oci.image.index.v1+json", Size: 4321,
				Error:    "push the signature of registry.example/tool@" + tool + ": " + refusedPush("registry.example/tool"),
				Warnings: []string{"the tag v2 was resolved once, to registry.example/tool@" + tool + "; a tag can be moved at any time, so it is better to name the digest"},
			},
		},
	}
}

// refusedPush is the error of a registry that asked for a login and then refused
// to have something pushed.
func refusedPush(repository string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	client := registry.New(registry.Options{Username: "ci", Password: registry.NewSecret("password")})
	defer client.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	reference := oras.Reference{Registry: host, Repository: strings.SplitN(repository, "/", 2)[1]}
	if _, err := client.Resolve(context.Background(), reference.String()+":v2"); err == nil {
		panic("not refused")
	}
	answer := &errcode.ErrorResponse{
		Method: http.MethodPut, URL: &url.URL{Scheme: "https", Host: host, Path: "/v2/" + reference.Repository + "/manifests/sha256:" + strings.Repeat("e5", 32)},
		StatusCode: http.StatusForbidden, Errors: errcode.Errors{{Code: errcode.ErrorCodeDenied, Message: "requested access to the resource is denied"}},
	}
	refusal := client.Explain(context.Background(), reference, true, answer)
	return strings.ReplaceAll(refusal.Error(), host, strings.SplitN(repository, "/", 2)[0])
}

func exampleJSON() []string {
	var out bytes.Buffer
	if err := exampleReport().WriteJSON(&out); err != nil {
		panic(err)
	}
	return append(append([]string{"```json"}, strings.Split(strings.TrimSpace(out.String()), "\n")...), "```")
}

func exampleList() []string {
	var out bytes.Buffer
	if err := exampleReport().WriteList(&out); err != nil {
		panic(err)
	}
	return append(append([]string{"```json"}, strings.Split(strings.TrimSpace(out.String()), "\n")...), "```")
}

func exampleSummary() []string {
	return append(append([]string{""}, strings.Split(strings.TrimSpace(exampleReport().Summary()), "\n")...), "")
}

// Each member of the report is in its documentation.
func TestReportIsDocumented(t *testing.T) {
	text := readDocument(t, "docs/report.md")
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(kind reflect.Type) {
		switch kind.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(kind.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[kind] || kind == reflect.TypeFor[time.Time]() {
			return
		}
		seen[kind] = true
		for field := range kind.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("docs/report.md does not say what %s is (%s.%s)", name, kind.Name(), field.Name)
			}
			walk(field.Type)
		}
	}
	walk(reflect.TypeFor[report.Report]())
	var list []map[string]any
	if err := json.Unmarshal([]byte(strings.Trim(strings.Join(exampleList(), ""), "`json")), &list); err != nil || len(list) == 0 {
		t.Fatal(err)
	}
	for _, listed := range list {
		for name := range listed {
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("docs/report.md does not say what %s is in the list of artifacts", name)
			}
		}
	}
	for _, name := range report.CheckNames {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/report.md does not say what the check %s is", name)
		}
	}
}
