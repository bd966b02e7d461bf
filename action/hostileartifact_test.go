// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/runner"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
)

// acting is text that steers a log, a summary or a terminal that takes it as it is.
const acting = "a\n::add-mask::x\n##[error]\x1b[2J<script>|`\u202e"

// hostileArtifact is a signature that a registry lists. What is nil is as it
// should be.
type hostileArtifact struct {
	name     string
	blob     []byte
	blobType string
	manifest func(envelope ocispec.Descriptor) string
	list     func(entry *ocispec.Descriptor)
	send     func(content []byte) []byte // of the manifest
}

// hostileArtifacts are all of them. None is a signature of the image.
func hostileArtifacts(w *signed.World, image ocispec.Descriptor) []hostileArtifact {
	good, goodType := w.Envelope(w.Good, image, signed.How{})
	inJWS, jwsType := w.Envelope(w.Good, image, signed.How{MediaType: jws.MediaTypeEnvelope})
	other := registry.DescriptorOf(image.MediaType, []byte("another"))
	ofOther, _ := w.Envelope(w.Good, other, signed.How{})
	stranger := pki.New(w.TB, acting, pki.New(w.TB, acting+"root", nil, pki.AsAuthority), pki.AsSigner)
	byStranger, _ := w.Envelope(stranger, image, signed.How{Metadata: map[string]string{acting: acting}})
	old, _ := w.Envelope(w.Good, image, signed.How{At: time.Now().Add(-2 * time.Hour), Expiry: time.Now().Add(-time.Hour)})
	withPlugin, _ := w.Envelope(w.Good, image, signed.How{Plugin: acting})
	year10000 := signed.SignedAt(w.TB, inJWS, time.Date(9999, time.December, 31, 23, 0, 0, 0, time.FixedZone("", -12*60*60)))
	layers := func(text string) func(ocispec.Descriptor) string {
		return func(envelope ocispec.Descriptor) string {
			entry, err := json.Marshal(envelope)
			if err != nil {
				w.TB.Fatal(err)
			}
			return strings.ReplaceAll(`{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageManifest+`",`+text+`}`, "ENVELOPE", string(entry))
		}
	}
	return []hostileArtifact{
		{name: "empty envelope", blob: []byte{}, blobType: goodType},
		{name: "no envelope", blob: []byte(acting), blobType: goodType},
		{name: "no JSON", blob: []byte(acting), blobType: jwsType},
		{name: "cut", blob: good[:len(good)/2], blobType: goodType},
		{name: "changed", blob: signed.FlipLast(good), blobType: goodType},
		{name: "JWS, changed", blob: bytes.Replace(inJWS, []byte(`"signature":"`), []byte(`"signature":"A`), 1), blobType: jwsType},
		{name: "JWS that is called COSE", blob: inJWS, blobType: cose.MediaTypeEnvelope},
		{name: "COSE that is called JWS", blob: good, blobType: jws.MediaTypeEnvelope},
		{name: "media type that acts", blob: good, blobType: acting},
		{name: "no media type", blob: good, blobType: ""},
		{name: "another artifact's", blob: ofOther, blobType: goodType},
		{name: "a stranger's, whose name acts", blob: byStranger, blobType: goodType},
		{name: "expired", blob: old, blobType: goodType},
		{name: "asks for a plugin", blob: withPlugin, blobType: goodType},
		{name: "signed in the year 10000", blob: year10000, blobType: jwsType},
		{name: "arrays without end", blob: bytes.Repeat([]byte{0x9f}, 100_000), blobType: goodType},
		{name: "JSON without end", blob: bytes.Repeat([]byte(`{"a":`), 20_000), blobType: jwsType},
		{name: "one byte too large", blob: make([]byte, 1<<20+1), blobType: goodType},
		{name: "no layer", manifest: layers(`"layers":[]`)},
		{name: "two layers", manifest: layers(`"layers":[ENVELOPE,ENVELOPE]`)},
		{name: "layers that are no list", manifest: layers(`"layers":{"a":ENVELOPE}`)},
		{name: "layer without a digest", manifest: layers(`"layers":[{"mediaType":"application/cose","size":5}]`)},
		{name: "digest that is a path", manifest: layers(`"layers":[{"mediaType":"application/cose","digest":"sha256:../../../etc/passwd","size":5}]`)},
		{name: "digest that acts", manifest: layers(`"layers":[{"mediaType":"application/cose","digest":"\u001b[2J::error::","size":5}]`)},
		{name: "size below zero", manifest: layers(`"layers":[{"mediaType":"application/cose","digest":"` + digest.FromBytes(good).String() + `","size":-1}]`)},
		{name: "size of exabytes", manifest: layers(`"layers":[{"mediaType":"application/cose","digest":"` + digest.FromBytes(good).String() + `","size":9223372036854775807}]`)},
		{name: "envelope that is not there", manifest: layers(`"layers":[{"mediaType":"application/cose","digest":"` + digest.FromString("gone").String() + `","size":4}]`)},
		{name: "manifest that is no JSON", manifest: func(ocispec.Descriptor) string { return acting }},
		{name: "manifest that is null", manifest: func(ocispec.Descriptor) string { return "null" }},
		{name: "manifest that is deep", manifest: layers(`"later":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `,"layers":[ENVELOPE]`)},
		{name: "manifest that is too large", manifest: layers(`"later":"` + strings.Repeat("x", 4<<20) + `","layers":[ENVELOPE]`)},
		{name: "listed with another media type", list: func(d *ocispec.Descriptor) { d.MediaType = acting }},
		{name: "listed with another size", list: func(d *ocispec.Descriptor) { d.Size++ }},
		{name: "listed with a size below zero", list: func(d *ocispec.Descriptor) { d.Size = -1 }},
		{name: "listed with no digest", list: func(d *ocispec.Descriptor) { d.Digest = "" }},
		{name: "listed with a digest that acts", list: func(d *ocispec.Descriptor) { d.Digest = acting }},
		{name: "listed as the image itself", list: func(d *ocispec.Descriptor) { d.Digest, d.Size = image.Digest, image.Size }},
		{name: "another manifest comes", send: func([]byte) []byte { return []byte("{}") }},
		{name: "a longer manifest comes", send: func(content []byte) []byte { return append(content, ' ') }},
		{name: "a shorter manifest comes", send: func(content []byte) []byte { return content[:len(content)-1] }},
	}
}

// TestHostileArtifacts has the action verify an image with each of them as its one
// signature: it fails, says so, sends nothing, and shows what it found as text.
func TestHostileArtifacts(t *testing.T) {
	w := newRunWorld(t)
	_, image := w.image(t, "app", "v1")
	signer := &signed.World{TB: t, Good: w.signer}
	inputs := func(t *testing.T, h hostileArtifact, mode mode) map[string]string {
		host := testenv.Front(t, w.registry, h.handler(t, signer, image))
		return map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": host + "/app@" + image.Digest.String(), "INPUT_MODE": string(mode)}
	}
	if r := w.run(t, inputs(t, hostileArtifact{}, modeVerify)); r.code != exitSuccess {
		t.Fatalf("the good one: exit code %d", r.code)
	}
	tried, held := 0, 0
	for _, hostile := range hostileArtifacts(signer, image) {
		tried++
		ok := testenv.Holds(t, hostile.name, func(t *testing.T) {
			for _, mode := range []mode{modeVerify, modeInspect} {
				r := w.run(t, inputs(t, hostile, mode))
				if mode == modeVerify && (r.code != exitFailure || r.artifact.Succeeded || r.artifact.Error == "" || !strings.Contains(r.outputs, "false")) {
					t.Errorf("exit code %d, outputs %q, %+v", r.code, r.outputs, r.artifact)
				}
				if r.report.FormatVersion == "" {
					t.Error("there is no report")
				}
				for _, request := range r.requests {
					if request.Method != http.MethodGet && request.Method != http.MethodHead {
						t.Errorf("a request %s %s", request.Method, request.Path)
					}
				}
				checkShownAsText(t, r)
			}
		})
		if ok {
			held++
		}
	}
	testenv.Tally(t, testenv.BadInputs, tried, held)
}

// handler answers for the registry where it is asked for the signature.
func (h hostileArtifact) handler(t *testing.T, w *signed.World, image ocispec.Descriptor) func(http.ResponseWriter, *http.Request) bool {
	t.Helper()
	blob, blobType := h.blob, h.blobType
	if blob == nil {
		blob, blobType = w.Envelope(w.Good, image, signed.How{})
	}
	_, content, err := registry.SignatureManifest(image, registry.DescriptorOf(blobType, blob), map[string]string{acting: acting})
	if err != nil {
		t.Fatal(err)
	}
	if h.manifest != nil {
		content = []byte(h.manifest(registry.DescriptorOf(blobType, blob)))
	}
	entry := registry.DescriptorOf(ocispec.MediaTypeImageManifest, content)
	entry.ArtifactType = registry.ArtifactTypeSignature
	if h.send != nil {
		content = h.send(content)
	}
	real := entry.Digest.String()
	if h.list != nil {
		h.list(&entry)
	}
	index, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{entry}})
	if err != nil {
		t.Fatal(err)
	}
	return func(out http.ResponseWriter, req *http.Request) bool {
		answers := map[string]struct {
			mediaType string
			body      []byte
		}{
			"/referrers/" + image.Digest.String():       {ocispec.MediaTypeImageIndex, index},
			"/manifests/" + real:                        {ocispec.MediaTypeImageManifest, content},
			"/blobs/" + digest.FromBytes(blob).String(): {"application/octet-stream", blob},
		}
		for suffix, answer := range answers {
			if strings.HasSuffix(req.URL.Path, suffix) {
				out.Header().Set("Content-Type", answer.mediaType)
				out.Header().Set("Content-Length", fmt.Sprint(len(answer.body)))
				out.Write(answer.body)
				return true
			}
		}
		return false
	}
}

// checkShownAsText checks that a run's log has commands of our own alone, and that
// nothing in log or summary acts.
func checkShownAsText(t *testing.T, r ran) {
	t.Helper()
	for line := range strings.Lines(r.log) {
		line = strings.TrimSuffix(line, "\n")
		c, isCommand := runner.ParseCommand(line)
		if isCommand && c.Name != "group" && c.Name != "endgroup" && c.Name != "error" && c.Name != "warning" || strings.Contains(line, "##[") {
			t.Errorf("the log has the command %.200q", line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("the log has the line %.200q", line)
		}
	}
	for _, text := range []string{"<script", "\x1b", "\u202e", "`|", "\n::"} {
		if strings.Contains(r.summary, text) {
			t.Errorf("the summary has %q", text)
		}
	}
}
