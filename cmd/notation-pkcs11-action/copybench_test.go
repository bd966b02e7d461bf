// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"os/exec"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// BenchmarkCopy times a run that takes an image from a layout to its tag, signed,
// against oras cp and skopeo copy of the same image, which sign nothing: one of few large
// layers, and one of many small ones.
func BenchmarkCopy(b *testing.B) {
	w := newBenchWorld(b)
	tools := b.TempDir()
	if out, err := exec.Command("go", "build", "-C", "../../testenv/tools/oras", "-trimpath", "-o", tools, "oras.land/oras/cmd/oras").CombinedOutput(); err != nil {
		b.Fatalf("build oras: %v\n%s", err, out)
	}
	for _, shape := range []struct {
		name       string
		layers, of int
	}{{"8×64MiB", 8, 64 << 20}, {"200×20KiB", 200, 20 << 10}} {
		folder := w.layers(b, shape.layers, shape.of)
		b.Run(shape.name, func(b *testing.B) {
			var ours, oras, skopeo time.Duration
			var peak int64
			for b.Loop() {
				backend := testenv.Start(b, testenv.NewRegistry)
				oras += timed(b, tools+"/oras", "cp", "--from-oci-layout", folder+":v1", "--to-plain-http", backend.Host+"/oras:v1")
				skopeo += timed(b, "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+folder+":v1", "docker://"+backend.Host+"/skopeo:v1")
				start := time.Now()
				peak = max(peak, w.runWith(b, map[string]string{"mode": "sign", "source": "oci-layout:" + folder, "target_artifact_reference": backend.Host + "/ours:v1"}))
				ours += time.Since(start)
			}
			b.ReportMetric(0, "ns/op") // of both together, which says nothing
			b.ReportMetric(ours.Seconds()/float64(b.N), "s/image")
			b.ReportMetric(oras.Seconds()/float64(b.N), "oras-s/image")
			b.ReportMetric(skopeo.Seconds()/float64(b.N), "skopeo-s/image")
			b.ReportMetric(ours.Seconds()/min(oras, skopeo).Seconds(), "times-the-faster")
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}

// timed returns how long a command takes.
func timed(b *testing.B, command string, args ...string) time.Duration {
	b.Helper()
	start := time.Now()
	if out, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", command, err, out)
	}
	return time.Since(start)
}

// layers makes a layout with an image of random layers.
func (w *benchWorld) layers(b *testing.B, n, size int) (folder string) {
	b.Helper()
	store, folder := testenv.NewLayout(b)
	var layers []ocispec.Descriptor
	content := make([]byte, size)
	for range n {
		rand.Read(content) // which returns no error
		layer, err := oras.PushBytes(b.Context(), store, ocispec.MediaTypeImageLayer, content)
		if err != nil {
			b.Fatal(err)
		}
		layers = append(layers, layer)
	}
	image, err := oras.PackManifest(b.Context(), store, oras.PackManifestVersion1_1, "application/vnd.example.bench", oras.PackManifestOptions{Layers: layers})
	if err == nil {
		err = store.Tag(b.Context(), image, "v1")
	}
	if err != nil {
		b.Fatal(err)
	}
	return folder
}
